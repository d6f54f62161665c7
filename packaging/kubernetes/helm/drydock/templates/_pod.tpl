{{- /* The pod of both modes. The variants of `security` have the same paths. */ -}}
{{- define "drydock.pod" -}}
{{- $rootless := eq .Values.security "rootless" }}
{{- $service := eq .Values.mode "service" }}
{{- $image := printf "%s:%s" .Values.image.repository (.Values.image.tag | default ($rootless | ternary "rootless" "latest")) }}
metadata:
  labels:
    {{- include "drydock.selector" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Pods are made anew when their settings change.
    drydock/settings: {{ printf "%s%s" .Values.buildkitd (include "drydock.policy" .) | sha256sum }}
    prometheus.io/scrape: 'true'
    prometheus.io/port: {{ .Values.metricsPort | quote }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "drydock.name" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  # Clients that still come in are waited for, then the builds, then the shared cache; 25 s are for cleaning up.
  terminationGracePeriodSeconds: {{ add 30 (mul 2 (int .Values.drainSeconds)) }}
  {{- if not $rootless }}
  hostUsers: false
  {{- end }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- if $rootless }}
    runAsNonRoot: true
    runAsUser: 1000
    runAsGroup: 1000
    fsGroup: 1000
    fsGroupChangePolicy: OnRootMismatch
    # Kubernetes' own profiles forbid user namespaces and mounts. Each step has a seccomp filter of its own.
    seccompProfile:
      type: Unconfined
    appArmorProfile:
      type: Unconfined
    {{- else }}
    runAsUser: 0
    {{- end }}
  initContainers:
    # The state is in a folder of the volume: the kubelet has everything in the volume's own folder belong to one group.
    # The policy is copied, since a rootless daemon cannot tell that the file in the ConfigMap is root's.
    - name: prepare
      image: {{ $image }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      command:
        - sh
        - -ec
        - |
          mkdir -p "$DRYDOCK_ROOT"
          chmod g-s,go-rwx "$DRYDOCK_ROOT"
          cp /settings/policy.json /policy/policy.json
          chmod 600 /policy/policy.json
      env:
        - name: DRYDOCK_ROOT
          value: /var/lib/drydock/state
      volumeMounts:
        - name: state
          mountPath: /var/lib/drydock
        - name: settings
          mountPath: /settings
          readOnly: true
        - name: policy
          mountPath: /policy
      securityContext:
        allowPrivilegeEscalation: false
        capabilities:
          drop: [ALL]
  containers:
    - name: buildkitd
      image: {{ $image }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        - --addr
        - unix:///run/drydock/buildkitd.sock
        {{- if $service }}
        - --addr
        - tcp://0.0.0.0:{{ .Values.service.port }}
        - --tlscert
        - /certs/tls.crt
        - --tlskey
        - /certs/tls.key
        - --tlscacert
        - /certs/ca.crt
        {{- end }}
        - --debugaddr
        - :{{ .Values.metricsPort }}
      env:
        - name: DRYDOCK_ROOT
          value: /var/lib/drydock/state
        - name: DRYDOCK_SHUTDOWN_TIMEOUT
          value: {{ .Values.drainSeconds | quote }}
        # For buildctl, which probes and clients run here.
        - name: BUILDKIT_HOST
          value: unix:///run/drydock/buildkitd.sock
        # The daemon's policy and its settings, in the rootless image too.
        - name: XDG_CONFIG_HOME
          value: /etc
        {{- if $rootless }}
        # The kubelet hides parts of /proc, and then nobody may mount another one.
        - name: DRYDOCK_NO_PROCESS_SANDBOX
          value: '1'
        {{- end }}
        {{- with .Values.sharedCache.place }}
        - name: DRYDOCK_SHARED_CACHE
          value: {{ . | quote }}
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .Values.sharedCache.secretName }}
      envFrom:
        - secretRef:
            name: {{ . }}
      {{- end }}
      ports:
        {{- if $service }}
        - name: builds
          containerPort: {{ .Values.service.port }}
        {{- end }}
        - name: metrics
          containerPort: {{ .Values.metricsPort }}
      # A first start on a disk that another version has left may have something to sweep.
      startupProbe:
        exec:
          command: [buildctl, debug, workers]
        periodSeconds: 2
        timeoutSeconds: 10
        failureThreshold: 60
      readinessProbe:
        exec:
          command: [buildctl, debug, workers]
        periodSeconds: 10
        timeoutSeconds: 10
      livenessProbe:
        exec:
          command: [buildctl, debug, workers]
        periodSeconds: 30
        timeoutSeconds: 30
        failureThreshold: 4
      lifecycle:
        preStop:
          # The Service goes on sending clients for a moment after the pod has begun to end.
          sleep:
            seconds: 5
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        {{- if $rootless }}
        # newuidmap, which gives the daemon its range of users, has these two by its file.
        allowPrivilegeEscalation: true
        capabilities:
          drop: [ALL]
          add: [SETUID, SETGID]
        {{- else }}
        # Of the user namespace, not of the node.
        privileged: true
        {{- end }}
      volumeMounts:
        - name: state
          mountPath: /var/lib/drydock
        - name: settings
          mountPath: /etc/buildkit
          readOnly: true
        - name: policy
          mountPath: /etc/drydock
          readOnly: true
        - name: socket
          mountPath: /run/drydock
        {{- if $service }}
        - name: certs
          mountPath: /certs
          readOnly: true
        {{- end }}
  volumes:
    - name: settings
      configMap:
        name: {{ include "drydock.name" . }}
    - name: policy
      emptyDir:
        sizeLimit: 16Mi
    - name: socket
      emptyDir:
        sizeLimit: 16Mi
    {{- if $service }}
    - name: certs
      secret:
        secretName: {{ .Values.tls.secretName }}
        defaultMode: 0440
    {{- end }}
    {{- if not (and $service .Values.persistence.enabled) }}
    - name: state
      emptyDir:
        sizeLimit: {{ .Values.persistence.size }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
