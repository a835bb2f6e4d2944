package kubeapiserver

import "strings"

// taken is the group of flags that are taken over where a setting has them.
const taken = "taken"

// A known flag of kube-apiserver 1.37.
type known struct {
	group     string
	isBool    bool
	byDefault string
}

// A reason says why a flag is left out.
type reason struct {
	text    string
	serious bool
}

// reasons are why the flags of a group are left out.
func reasons() map[string]reason {
	return map[string]reason{
		"store": {"the objects of the cluster are kube-apiserver's, and a server of another kind must not write among them; " +
			"this one keeps its own in its data folder", false},
		"network":     {"there are no services or endpoints of a cluster here", false},
		"kubelet":     {"there are no kubelets and no pods that run here", false},
		"aggregation": {"there are no extension API servers behind this server", false},
		"features":    {"features and versions of the API are not switched here", false},
		"diagnosis":   {"logs, profiles and metrics are as they are here", false},
		"load":        {"how load is shared and a stop is made is fixed here", false},
		"browser":     {"browsers do not ask this server", false},
		"abac":        {"ABAC lets everybody read and is never read again; write roles instead", true},
		"admission":   {"admission is configured by the names of plugins alone", false},
		"tls":         {"key exchanges and HTTP/2 cannot be chosen", true},
	}
}

// removed says what became of flags that older versions had.
func removed(name string) (reason, bool) {
	switch name {
	case "insecure-port", "insecure-bind-address", "address", "port":
		return reason{"is refused: plain HTTP lets everybody do everything, and Kubernetes removed it in 1.24", true}, true
	case "kubelet-https", "target-ram-mb", "repair-malformed-updates", "experimental-encryption-provider-config", "cloud-provider",
		"cloud-config", "logtostderr", "log-dir", "log-file", "alsologtostderr", "stderrthreshold", "add-dir-header", "one-output",
		"deserialization-cache-size", "service-account-api-audiences", "master-service-namespace", "ssh-user", "ssh-keyfile":
		return reason{"was removed from Kubernetes: it is left out", name == "service-account-api-audiences" || name == "experimental-encryption-provider-config"}, true
	}
	return reason{}, false
}

// readTable returns the flags of kube-apiserver by name.
func readTable() map[string]known {
	all := map[string]known{}
	group := ""
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		name, byDefault, flag := strings.Cut(line, "=")
		switch {
		case flag:
			bare, isBool := strings.CutSuffix(name, "?")
			all[bare] = known{group, isBool, byDefault}
		case line != "":
			group = strings.TrimSuffix(line, ":")
		}
	}
	return all
}

// table has every flag of kube-apiserver 1.37.1 with its default, as the program
// itself lists them: a question mark after those that are true or false.
const table = `
store:
  storage-initialization-timeout=1m0s
  default-watch-cache-size=100
  delete-collection-workers=1
  enable-garbage-collector?=true
  encryption-provider-config-automatic-reload?=false
  etcd-cafile=
  etcd-certfile=
  etcd-compaction-interval=5m0s
  etcd-count-metric-poll-period=1m0s
  etcd-db-metric-poll-interval=30s
  etcd-healthcheck-timeout=2s
  etcd-keyfile=
  etcd-prefix=/registry
  etcd-readycheck-timeout=2s
  etcd-servers=
  etcd-servers-overrides=
  lease-reuse-duration-seconds=60
  storage-backend=
  storage-media-type=application/vnd.kubernetes.protobuf
  watch-cache?=true
  watch-cache-sizes=
  event-ttl=1h0m0s
network:
  advertise-address=
  external-hostname=
  permit-address-sharing?=false
  permit-port-sharing?=false
  egress-selector-config-file=
  apiserver-count=1
  endpoint-reconciler-type=lease
  kubernetes-service-node-port=0
  peer-advertise-ip=
  peer-advertise-port=
  peer-ca-file=
  service-cluster-ip-range=
  service-node-port-range=30000-32767
kubelet:
  default-not-ready-toleration-seconds=300
  default-unreachable-toleration-seconds=300
  allow-privileged?=false
  kubelet-certificate-authority=
  kubelet-client-certificate=
  kubelet-client-key=
  kubelet-port=10250
  kubelet-preferred-address-types=Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP
  kubelet-read-only-port=10255
  kubelet-timeout=5s
  max-connection-bytes-per-sec=0
aggregation:
  aggregator-reject-forwarding-redirect?=true
  enable-aggregator-routing?=false
  proxy-client-cert-file=
  proxy-client-key-file=
features:
  emulated-version=
  emulation-forward-compatible?=false
  feature-gates=
  min-compatibility-version=
  runtime-config-emulation-forward-compatible?=false
  runtime-config=
  coordinated-leadership-lease-duration=15s
  coordinated-leadership-renew-deadline=10s
  coordinated-leadership-retry-period=2s
diagnosis:
  contention-profiling?=false
  debug-socket-path=
  profiling?=true
  allow-metric-labels=
  allow-metric-labels-manifest=
  disabled-metrics=
  show-hidden-metrics-for-version=
  log-flush-frequency=5s
  log-text-info-buffer-size=0
  log-text-split-stream?=false
  logging-format=text
  vmodule=
  tracing-config-file=
  enable-logs-handler?=false
load:
  goaway-chance=0
  livez-grace-period=0s
  min-request-timeout=1800
  shutdown-delay-duration=0s
  shutdown-send-retry-after?=false
  shutdown-watch-termination-grace-period=0s
  http2-max-streams-per-connection=0
  enable-priority-and-fairness?=true
browser:
  cors-allowed-origins=
  strict-transport-security-directives=
abac:
  authorization-policy-file=
admission:
  admission-control=
  admission-control-config-file=
tls:
  disable-http2-serving?=false
  tls-curve-preferences=
taken:
  max-mutating-requests-inflight=200
  max-requests-inflight=400
  request-timeout=1m0s
  encryption-provider-config=
  bind-address=0.0.0.0
  cert-dir=/var/run/kubernetes
  secure-port=6443
  tls-cert-file=
  tls-cipher-suites=
  tls-min-version=
  tls-private-key-file=
  tls-sni-cert-key=
  audit-log-batch-buffer-size=10000
  audit-log-batch-max-size=1
  audit-log-batch-max-wait=0s
  audit-log-batch-throttle-burst=0
  audit-log-batch-throttle-enable?=false
  audit-log-batch-throttle-qps=0
  audit-log-compress?=false
  audit-log-format=json
  audit-log-maxage=366
  audit-log-maxbackup=100
  audit-log-maxsize=100
  audit-log-mode=blocking
  audit-log-path=
  audit-log-truncate-enabled?=false
  audit-log-truncate-max-batch-size=10485760
  audit-log-truncate-max-event-size=102400
  audit-log-version=audit.k8s.io/v1
  audit-policy-file=
  audit-webhook-batch-buffer-size=10000
  audit-webhook-batch-initial-backoff=10s
  audit-webhook-batch-max-size=400
  audit-webhook-batch-max-wait=30s
  audit-webhook-batch-throttle-burst=15
  audit-webhook-batch-throttle-enable?=true
  audit-webhook-batch-throttle-qps=10
  audit-webhook-config-file=
  audit-webhook-initial-backoff=10s
  audit-webhook-mode=batch
  audit-webhook-truncate-enabled?=false
  audit-webhook-truncate-max-batch-size=10485760
  audit-webhook-truncate-max-event-size=102400
  audit-webhook-version=audit.k8s.io/v1
  anonymous-auth?=true
  api-audiences=
  authentication-config=
  authentication-token-webhook-cache-ttl=2m0s
  authentication-token-webhook-config-file=
  authentication-token-webhook-version=v1beta1
  client-ca-file=
  enable-bootstrap-token-auth?=false
  oidc-ca-file=
  oidc-client-id=
  oidc-groups-claim=
  oidc-groups-prefix=
  oidc-issuer-url=
  oidc-required-claim=
  oidc-signing-algs=RS256
  oidc-username-claim=sub
  oidc-username-prefix=
  requestheader-allowed-names=
  requestheader-client-ca-file=
  requestheader-extra-headers-prefix=
  requestheader-group-headers=
  requestheader-uid-headers=
  requestheader-username-headers=
  service-account-extend-token-expiration?=true
  service-account-issuer=
  service-account-jwks-uri=
  service-account-key-file=
  service-account-lookup?=true
  service-account-max-token-expiration=0s
  token-auth-file=
  authorization-config=
  authorization-mode=
  authorization-webhook-cache-authorized-ttl=5m0s
  authorization-webhook-cache-unauthorized-ttl=30s
  authorization-webhook-config-file=
  authorization-webhook-version=v1beta1
  disable-admission-plugins=
  enable-admission-plugins=
  v=0
  service-account-signing-endpoint=
  service-account-signing-key-file=
`
