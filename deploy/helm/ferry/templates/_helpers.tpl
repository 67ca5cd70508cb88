{{- define "ferry.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 44 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 44 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Labels of the operator and its objects. */ -}}
{{- define "ferry.operator" -}}
{{- include "ferry.fullname" . }}-operator
{{- end -}}

{{- define "ferry.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "ferry.operator" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* app.kubernetes.io/managed-by must not be ferry-operator: the operator finds the Pods that it created by that label. */ -}}
{{- define "ferry.labels" -}}
{{ include "ferry.selector" . }}
{{ include "ferry.about" . }}
{{- end -}}

{{- define "ferry.about" -}}
app.kubernetes.io/part-of: mysql-ferry
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "ferry.selector" -}}
app.kubernetes.io/name: mysql-ferry
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "ferry.image" -}}
{{- with .Values.image -}}
{{- with .registry }}{{ . }}/{{ end }}{{ .repository }}
{{- if .digest -}}
@{{ .digest }}
{{- else -}}
:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ferry.podSecurity" -}}
{{- toYaml .Values.podSecurityContext -}}
{{- end -}}

{{- define "ferry.containerSecurity" -}}
{{- toYaml .Values.securityContext -}}
{{- end -}}
