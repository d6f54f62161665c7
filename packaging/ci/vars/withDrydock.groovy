// A step of a shared library: `withDrydock { sh 'docker build -t app .' }`. docs/install.md.
//
// `package`: a release, or a path or URL of a tarball of npm's; `root`: the folder of all state.
def call(Map options = [:], Closure body) {
  String root = options.root ?: "${env.WORKSPACE_TMP}/drydock"
  String host = "unix:///tmp/drydock-${env.EXECUTOR_NUMBER}-${env.BUILD_NUMBER}.sock"
  withEnv([
    "DRYDOCK_PACKAGE=${options.package ?: 'drydock@0.1.0'}",
    "DRYDOCK_ROOT=${root}",
    "DRYDOCK_HOST=${host}",
    "DOCKER_HOST=${host}",
    "BUILDKIT_HOST=${host}",
    "PATH+DRYDOCK=${env.WORKSPACE_TMP}/npm/bin",
  ]) {
    sh '''
      command -v drydock >/dev/null || npm install --global --prefix "$WORKSPACE_TMP/npm" --no-audit --no-fund --ignore-scripts "$DRYDOCK_PACKAGE"
      drydock daemon --detach
    '''
    try {
      body()
    } finally {
      sh 'drydock daemon --stop'
    }
  }
}
