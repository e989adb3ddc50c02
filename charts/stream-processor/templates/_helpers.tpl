{{- define "stream-processor.name" -}}
{{- default (printf "%s-operator" (.Release.Name | trunc 54 | trimSuffix "-")) .Values.fullnameOverride -}}
{{- end -}}

{{- define "stream-processor.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "stream-processor.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: name the account, or set serviceAccount.create to true" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What pods are selected by; it never changes. */}}
{{- define "stream-processor.selector" -}}
app.kubernetes.io/name: stream-processor-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "stream-processor.labels" -}}
{{ include "stream-processor.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "stream-processor.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}
