{{- define "drydock.name" -}}
{{- if contains "drydock" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-drydock" .Release.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "drydock.selector" -}}
app.kubernetes.io/name: drydock
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .Values.mode }}
{{- end }}

{{- define "drydock.labels" -}}
{{ include "drydock.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "drydock.policy" -}}
{{- $own := list (dict "match" (dict "uid" 0) "scopes" (list "*")) (dict "match" (dict "uid" 1000) "scopes" (list "*")) }}
{{- dict "rules" (concat $own .Values.policy.rules) | merge (omit .Values.policy "rules") | toPrettyJson }}
{{- end }}
