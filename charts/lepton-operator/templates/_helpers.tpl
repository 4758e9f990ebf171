{{/* The chart's name, or what replaces it. */}}
{{- define "lepton-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of the release's objects; the release's name alone where that says it already. */}}
{{- define "lepton-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else if contains (include "lepton-operator.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "lepton-operator.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Names of objects without a namespace tell releases of different namespaces apart. */}}
{{- define "lepton-operator.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "lepton-operator.fullname" .) }}
{{- end }}

{{- define "lepton-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "lepton-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lepton-operator.labels" -}}
{{ include "lepton-operator.selectorLabels" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: lepton
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "lepton-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "lepton-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "lepton-operator.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "lepton-operator.trainerImage" -}}
{{- default (printf "localhost/lepton/trainer:%s" .Chart.AppVersion) .Values.trainer.image }}
{{- end }}

{{/* Whether the cluster has ServiceMonitors. */}}
{{- define "lepton-operator.hasServiceMonitors" -}}
{{- if .Capabilities.APIVersions.Has "monitoring.coreos.com/v1/ServiceMonitor" }}yes{{ end }}
{{- end }}
