package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/pki"
)

// minimal is a command line that is accepted.
var minimal = []string{"--data-dir=data", "--service-account-issuer=https://gatehouse.example.org"}

// shared is one with an etcd cluster. The files are those of testdata.
var shared = []string{
	"--etcd-servers=https://10.0.0.1:2379", "--encryption-provider-config=pki/encryption.yaml",
	"--client-ca-file=pki/ca.crt", "--tls-cert-file=pki/serving.crt", "--tls-private-key-file=pki/serving.key",
	"--service-account-issuer=https://gatehouse.example.org",
	"--service-account-key-file=pki/sa.pub", "--service-account-signing-key-file=pki/sa.key",
}

// audited is minimal with both audit backends.
var audited = append(minimal[:len(minimal):len(minimal)],
	"--audit-policy-file=pki/policy.yaml", "--audit-log-path=audit.log", "--audit-webhook-config-file=pki/webhook.kubeconfig")

// proxied are flags that believe an authenticating proxy.
var proxied = []string{"--requestheader-client-ca-file=pki/ca.crt", "--requestheader-username-headers=X-Remote-User"}

// Each case adds args to a command line that is accepted. What is wanted are
// the beginnings of the problems, in order; none means that args are accepted.
var validations = []struct {
	name string
	base []string
	args []string
	want []string
}{
	{"minimal", minimal, nil, nil},
	{"shared", shared, nil, nil},
	{"audited", audited, nil, nil},

	{"port", minimal, []string{"--secure-port=65535"}, nil},
	{"no port", minimal, []string{"--secure-port=0"}, []string{"--secure-port: 0 is not a port"}},
	{"port too high", minimal, []string{"--secure-port=65536"}, []string{"--secure-port: 65536 is not a port"}},
	{"certificate without key", minimal, []string{"--tls-cert-file=pki/serving.crt"}, []string{"--tls-cert-file: is given without serving.tlsPrivateKeyFile"}},
	{"key without certificate", minimal, []string{"--tls-private-key-file=pki/serving.key"}, []string{"--tls-private-key-file: is given without serving.tlsCertFile"}},
	{"certificate twice", shared, []string{"--cert-dir=certs"}, []string{"--cert-dir: is for a certificate that the server makes"}},
	{"no certificate", shared, []string{"--tls-cert-file=", "--tls-private-key-file="}, []string{"--tls-cert-file: is not set, and there is no folder"}},
	{"external name", minimal, []string{"--external-hostname=api.example.org"}, nil},
	{"external name and port", minimal, []string{"--external-hostname=api.example.org:443"}, nil},
	{"external address", minimal, []string{"--external-hostname=2001:db8::1"}, nil},
	{"external address and port", minimal, []string{"--external-hostname=[2001:db8::1]:443"}, nil},
	{"external name in cluster-info", shared, []string{"--external-hostname=api.example.org", "--enable-bootstrap-token-auth"}, nil},
	{"external URL", minimal, []string{"--external-hostname=https://api.example.org"}, []string{`--external-hostname: "https://api.example.org" is no host; write it as api.example.org`}},
	{"external name in upper case", minimal, []string{"--external-hostname=API"}, []string{`--external-hostname: "API" is no host`}},
	{"external port of no number", minimal, []string{"--external-hostname=api:https"}, []string{`--external-hostname: "api:https" is no host`}},
	{"external port 0", minimal, []string{"--external-hostname=api:0"}, []string{`--external-hostname: "api:0" is no host`}},
	{"external name of nothing", shared, []string{"--external-hostname=api.example.org"}, []string{"--external-hostname: has no effect"}},
	{"SNI", minimal, []string{"--tls-sni-cert-key=pki/serving.crt,pki/serving.key:a"}, nil},
	{"SNI without name", minimal, []string{"--tls-sni-cert-key=pki/serving.crt,pki/serving.key:a,"}, []string{"--tls-sni-cert-key: entry 1 has an empty name"}},
	{"SNI without file", minimal, []string{"--tls-sni-cert-key=pki/serving.crt,no"}, []string{"--tls-sni-cert-key: no: no such file"}},
	{"TLS version", minimal, []string{"--tls-min-version=VersionTLS13"}, nil},
	{"bad TLS version", minimal, []string{"--tls-min-version=1.3"}, []string{`--tls-min-version: "1.3" is not known; choose one of VersionTLS10,`}},
	{"suite", minimal, []string{"--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}, nil},
	{"bad suite", minimal, []string{"--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,AES"}, []string{`--tls-cipher-suites: "AES" is not known`}},
	{"suites not for HTTP/2", minimal, []string{"--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}, []string{"--tls-cipher-suites: has none of the suites that HTTP/2 needs"}},
	{"suites of TLS 1.3", minimal, []string{"--tls-min-version=VersionTLS13", "--tls-cipher-suites=TLS_AES_128_GCM_SHA256"}, []string{"--tls-cipher-suites: has no effect with VersionTLS13"}},

	{"no store", minimal[1:], []string{"--cert-dir=certs"}, []string{"storage.dataDir (--data-dir): is not set, and neither is storage.etcd.servers (--etcd-servers)"}},
	{"two stores", shared, []string{"--data-dir=data"}, []string{"--data-dir: is for the embedded etcd"}},
	{"data folder is a file", minimal, []string{"--data-dir=pki/ca.crt"}, []string{"--data-dir: pki/ca.crt is not a folder"}},
	{"shared without keys", minimal[1:], []string{"--etcd-servers=https://a:1", "--cert-dir=certs"}, []string{
		"authentication.clientCAFile (--client-ca-file): is needed with",
		"storage.encryptionProviderConfigFile (--encryption-provider-config): is needed with",
	}},
	{"etcd client certificate", shared, []string{"--etcd-cafile=pki/etcd-ca.crt", "--etcd-certfile=pki/etcd.crt", "--etcd-keyfile=pki/etcd.key"}, nil},
	{"etcd key alone", shared, []string{"--etcd-keyfile=pki/etcd.key"}, []string{"--etcd-keyfile: is given without storage.etcd.certFile"}},
	{"etcd files without servers", minimal, []string{"--etcd-cafile=pki/etcd-ca.crt"}, []string{"--etcd-cafile: is for TLS"}},
	{"etcd without TLS", shared, []string{"--etcd-servers=http://10.0.0.2:2379", "--etcd-cafile=pki/etcd-ca.crt"}, []string{"--etcd-cafile: is for TLS"}},
	{"etcd not a URL", shared, []string{"--etcd-servers=10.0.0.1:2379"}, []string{`--etcd-servers: "10.0.0.1:2379" is not a URL`}},
	{"etcd with a path of a socket", shared, []string{"--etcd-servers=unix:///run/etcd"}, []string{`--etcd-servers: "unix:///run/etcd" is not a URL`}},
	{"etcd with password", shared, []string{"--etcd-servers=https://root:hunter2@a:2379"}, []string{"--etcd-servers: holds a user name or a password"}},
	{"etcd with password, and not a URL", shared, []string{"--etcd-servers=root:hunter2@a,root:hunter2@a"}, []string{
		"--etcd-servers: entry 3 is given twice", "--etcd-servers: holds a user name", "--etcd-servers: holds a user name",
	}},
	{"quota", minimal, []string{"--quota-backend-bytes=16777216"}, nil},
	{"no quota", minimal, []string{"--quota-backend-bytes=0"}, []string{"--quota-backend-bytes: 0 is not between"}},
	{"quota above what etcd bears", minimal, []string{"--quota-backend-bytes=1000000000000"}, []string{"--quota-backend-bytes: 1000000000000 is not between"}},
	{"staleness", minimal, []string{"--max-staleness=1h"}, nil},
	{"serving stale", minimal, []string{"--serve-stale"}, nil},
	{"no staleness at all", minimal, []string{"--max-staleness=0s"}, []string{"--max-staleness: 0s is not between 1s and 1h0m0s"}},
	{"staleness below zero", minimal, []string{"--max-staleness=-10s"}, []string{"--max-staleness: -10s is not between"}},
	{"staleness of a day", minimal, []string{"--max-staleness=24h"}, []string{"--max-staleness: 24h0m0s is not between"}},
	{"quota of a cluster", shared, []string{"--quota-backend-bytes=16777216"}, []string{"--quota-backend-bytes: is for the embedded etcd"}},
	{"prefix", minimal, []string{"--etcd-prefix=/a/b"}, nil},
	{"prefix with dots", minimal, []string{"--etcd-prefix=/a/../b"}, []string{`--etcd-prefix: "/a/../b" is not a path`}},
	{"empty prefix", minimal, []string{"--etcd-prefix="}, []string{`--etcd-prefix: "" is not a path`}},

	{"no issuer", minimal[:1], nil, []string{"serviceAccounts.issuers (--service-account-issuer): is not set"}},
	{"plain issuer", minimal, []string{"--service-account-issuer=plain"}, nil},
	{"empty issuer", minimal, []string{"--service-account-issuer="}, []string{"--service-account-issuer: entry 2 is empty"}},
	{"issuer twice", minimal, []string{minimal[1]}, []string{"--service-account-issuer: entry 2 is given twice"}},
	{"issuer not a URL", minimal, []string{"--service-account-issuer=https://[a"}, []string{`--service-account-issuer: "https://[a" has a colon and is not a URL`}},
	{"signing key alone", minimal, []string{"--service-account-signing-key-file=pki/sa.key"}, []string{"--service-account-signing-key-file: is given without"}},
	{"shortest limit", minimal, []string{"--service-account-max-token-expiration=1h"}, nil},
	{"limit too short", minimal, []string{"--service-account-max-token-expiration=59m59s"}, []string{"--service-account-max-token-expiration: 59m59s is out of range"}},
	{"longest limit", minimal, []string{"--service-account-max-token-expiration=4294967296s"}, nil},
	{"limit too long", minimal, []string{"--service-account-max-token-expiration=4294967297s"}, []string{"--service-account-max-token-expiration: 1193046h28m17s is out of range"}},
	{"signer", minimal, []string{"--service-account-signing-endpoint=@signer"}, nil},
	{"signer and a key", minimal, []string{"--service-account-signing-endpoint=@signer", "--service-account-key-file=pki/sa.pub"}, []string{"--service-account-signing-endpoint: cannot be used together with"}},
	{"signer and a key that signs", minimal, []string{"--service-account-signing-endpoint=@signer", "--service-account-key-file=pki/sa.pub", "--service-account-signing-key-file=pki/sa.key"}, []string{"--service-account-signing-endpoint: cannot be used together with"}},
	{"keys elsewhere", minimal, []string{"--service-account-jwks-uri=https://keys.example.org/jwks"}, nil},
	{"keys in plain", minimal, []string{"--service-account-jwks-uri=http://keys.example.org/jwks"}, []string{`--service-account-jwks-uri: "http://keys.example.org/jwks" is no https URL`}},
	{"keys nowhere", minimal, []string{"--service-account-jwks-uri=https:///jwks"}, []string{`--service-account-jwks-uri: "https:///jwks" is no https URL`}},
	{"keys of who cannot be discovered", []string{"--data-dir=data", "--service-account-issuer=gatehouse"}, []string{"--service-account-jwks-uri=https://keys.example.org"}, []string{`--service-account-jwks-uri: has no effect: nobody can discover the issuer "gatehouse"`}},
	{"keys of an issuer with a query", []string{"--data-dir=data", "--service-account-issuer=https://a.example.org?b"}, []string{"--service-account-jwks-uri=https://keys.example.org"}, []string{`--service-account-jwks-uri: has no effect`}},
	{"unused tokens", minimal, []string{"--legacy-service-account-token-clean-up-period=1h"}, nil},
	{"unused tokens at once", minimal, []string{"--legacy-service-account-token-clean-up-period=0s"}, []string{"--legacy-service-account-token-clean-up-period: 0s is not positive"}},
	{"unused tokens in advance", minimal, []string{"--legacy-service-account-token-clean-up-period=-1h"}, []string{"--legacy-service-account-token-clean-up-period: -1h0m0s is not positive"}},
	{"tokens looked up", minimal, []string{"--service-account-lookup=true"}, nil},
	{"tokens not looked up", minimal, []string{"--service-account-lookup=false"}, []string{"--service-account-lookup: cannot be switched off here"}},
	{"token webhook", minimal, []string{
		"--authentication-token-webhook-config-file=pki/webhook.kubeconfig", "--authentication-token-webhook-version=v1", "--authentication-token-webhook-cache-ttl=0s",
		"--authentication-token-webhook-reserved-name=system:node:*", "--authentication-token-webhook-reserved-name=system:masters",
	}, nil},
	{"settings of no token webhook", minimal, []string{"--authentication-token-webhook-version=v1", "--authentication-token-webhook-cache-ttl=1m"}, []string{
		"--authentication-token-webhook-version: has no effect without", "--authentication-token-webhook-cache-ttl: has no effect without",
	}},
	{"token webhook of no version", minimal, []string{"--authentication-token-webhook-config-file=pki/webhook.kubeconfig", "--authentication-token-webhook-version=v2"}, []string{`--authentication-token-webhook-version: "v2" is not known`}},
	{"token webhook of the past", minimal, []string{"--authentication-token-webhook-config-file=pki/webhook.kubeconfig", "--authentication-token-webhook-cache-ttl=-1s"}, []string{"--authentication-token-webhook-cache-ttl: -1s is negative"}},
	{"token webhook that may name all", minimal, []string{"--authentication-token-webhook-config-file=pki/webhook.kubeconfig", "--authentication-token-webhook-reserved-name=system:*"}, []string{"--authentication-token-webhook-reserved-name: \"system:*\" would allow"}},
	{"token webhook that may name nobody", minimal, []string{"--authentication-token-webhook-config-file=pki/webhook.kubeconfig", "--authentication-token-webhook-reserved-name="}, []string{"--authentication-token-webhook-reserved-name: entry 1 is empty"}},
	{"token webhook in no kubeconfig", minimal, []string{"--authentication-token-webhook-config-file=pki/ca.crt"}, []string{"--authentication-token-webhook-config-file: pki/ca.crt: "}},
	{"token webhook without TLS", minimal, []string{"--authentication-token-webhook-config-file=pki/plain.kubeconfig"}, []string{"--authentication-token-webhook-config-file: pki/plain.kubeconfig: its server begins with http:"}},
	{"no token webhook", minimal, []string{"--authentication-token-webhook-config-file=no"}, []string{"--authentication-token-webhook-config-file: no: no such file"}},
	{"access webhook", minimal, []string{
		"--authorization-mode=Webhook,RBAC", "--authorization-webhook-config-file=pki/webhook.kubeconfig", "--authorization-webhook-version=v1",
		"--authorization-webhook-cache-authorized-ttl=0s", "--authorization-webhook-cache-unauthorized-ttl=1s",
	}, nil},
	{"access webhook without kubeconfig", minimal, []string{"--authorization-mode=Webhook"}, []string{"authorization.webhook.configFile (--authorization-webhook-config-file): is needed with the mode Webhook"}},
	{"access webhook without mode", minimal, []string{"--authorization-webhook-config-file=pki/webhook.kubeconfig"}, []string{"--authorization-webhook-config-file: has no effect without the mode"}},
	{"access webhook of no version", minimal, []string{"--authorization-mode=Webhook", "--authorization-webhook-config-file=pki/webhook.kubeconfig", "--authorization-webhook-version=v2"}, []string{`--authorization-webhook-version: "v2" is not known`}},
	{"access webhook of the past", minimal, []string{"--authorization-mode=Webhook", "--authorization-webhook-config-file=pki/webhook.kubeconfig", "--authorization-webhook-cache-authorized-ttl=-1s"}, []string{"--authorization-webhook-cache-authorized-ttl: -1s is negative"}},
	{"access webhook without TLS", minimal, []string{"--authorization-mode=Webhook", "--authorization-webhook-config-file=pki/plain.kubeconfig"}, []string{"--authorization-webhook-config-file: pki/plain.kubeconfig: its server begins"}},
	{"access webhook in no kubeconfig", minimal, []string{"--authorization-mode=Webhook", "--authorization-webhook-config-file=pki/ca.crt"}, []string{"--authorization-webhook-config-file: pki/ca.crt: "}},
	{"no access webhook", minimal, []string{"--authorization-mode=Webhook", "--authorization-webhook-config-file=no"}, []string{"--authorization-webhook-config-file: no: no such file"}},
	{"deciders", minimal, []string{"--authorization-config=pki/authorization.yaml"}, nil},
	{"deciders twice", minimal, []string{"--authorization-config=pki/authorization.yaml", "--authorization-mode=RBAC"}, []string{"--authorization-mode: may not be given together with"}},
	{"deciders and webhook", minimal, []string{"--authorization-config=pki/authorization.yaml", "--authorization-webhook-version=v1"}, []string{"--authorization-webhook-version: has no effect with"}},
	{"bad deciders", minimal, []string{"--authorization-config=pki/authorization.bad.yaml"}, []string{
		"--authorization-config: authorizers[1].timeout: Required value", "--authorization-config: authorizers[1].connectionInfo.kubeConfigFile: Invalid value",
		`--authorization-config: authorizers[0].name: Invalid value: "roles"`,
	}},
	{"no deciders", minimal, []string{"--authorization-config=no"}, []string{"--authorization-config: no: no such file"}},
	{"everything allowed by a file to anonymous", minimal, []string{"--authorization-config=pki/allow.yaml"}, []string{"--authorization-config: AlwaysAllow together with"}},
	{"everything allowed by a file", minimal, []string{"--authorization-config=pki/allow.yaml", "--anonymous-auth=false"}, nil},
	{"empty audience", minimal, []string{"--api-audiences=a,"}, []string{"--api-audiences: entry 2 is empty"}},
	{"missing file", minimal, []string{"--client-ca-file=no"}, []string{"--client-ca-file: no: no such file"}},
	{"folder for a file", minimal, []string{"--token-auth-file=pki"}, []string{"--token-auth-file: pki: is a folder"}},
	{"one missing file of two", minimal, []string{"--service-account-key-file=pki/sa.pub", "--service-account-key-file=no"}, []string{"--service-account-key-file: no: no such file"}},

	{"OpenID Connect", minimal, []string{
		"--oidc-issuer-url=https://a", "--oidc-client-id=b", "--oidc-username-claim=email", "--oidc-username-prefix=-", "--oidc-groups-claim=groups",
		"--oidc-groups-prefix=o:", "--oidc-signing-algs=ES256,EdDSA", "--oidc-required-claim=hd=x", "--jwt-max-key-age=1h", "--jwt-reserved-name=https://a system:b",
	}, nil},
	{"issuers", minimal, []string{"--authentication-config=pki/authentication.yaml", "--jwt-claim-sources=https://graph.example.org"}, nil},
	{"issuer without client", minimal, []string{"--oidc-issuer-url=https://a"}, []string{"--oidc-issuer-url: is given without authentication.oidc.clientID"}},
	{"client without issuer", minimal, []string{"--oidc-client-id=a"}, []string{"--oidc-client-id: is given without authentication.oidc.issuerURL"}},
	{"claims without issuer", minimal, []string{"--oidc-groups-claim=a"}, []string{"--oidc-groups-claim: has no effect without"}},
	{"rules without issuers", minimal, []string{"--jwt-max-key-age=2h"}, []string{"--jwt-max-key-age: has no effect without"}},
	{"issuers twice", minimal, []string{"--authentication-config=pki/authentication.yaml", "--oidc-issuer-url=https://a", "--oidc-client-id=b"}, []string{"--authentication-config: may not be given together with"}},
	{"issuer without TLS", minimal, []string{"--oidc-issuer-url=http://a", "--oidc-client-id=b"}, []string{"--oidc-issuer-url: jwt[0].issuer.url: Invalid value"}},
	{"issuer that is this server", minimal, []string{"--oidc-issuer-url=https://gatehouse.example.org", "--oidc-client-id=b"}, []string{"--oidc-issuer-url: jwt[0].issuer.url: Invalid value"}},
	{"symmetric signatures", minimal, []string{"--oidc-issuer-url=https://a", "--oidc-client-id=b", "--oidc-signing-algs=HS256"}, []string{`--oidc-signing-algs: "HS256" is not known`}},
	{"no signatures", minimal, []string{"--oidc-issuer-url=https://a", "--oidc-client-id=b", "--oidc-signing-algs="}, []string{"--oidc-signing-algs: is empty"}},
	{"required claim without value", minimal, []string{"--oidc-issuer-url=https://a", "--oidc-client-id=b", "--oidc-required-claim=hd"}, []string{`--oidc-issuer-url: required claim "hd"`}},
	{"keys for a minute", minimal, []string{"--oidc-issuer-url=https://a", "--oidc-client-id=b", "--jwt-max-key-age=1m"}, []string{"--jwt-max-key-age: 1m0s is too short"}},
	{"name that is not reserved", minimal, []string{"--oidc-issuer-url=https://a", "--oidc-client-id=b", "--jwt-reserved-name=admin"}, []string{`--oidc-issuer-url: reserved name "admin"`}},
	{"missing issuers", minimal, []string{"--authentication-config=no"}, []string{"--authentication-config: no: no such file"}},
	{"bad issuers", minimal, []string{"--authentication-config=pki/policy.yaml"}, []string{"--authentication-config: reading pki/policy.yaml: couldn"}},
	{"anonymous twice", minimal, []string{"--authentication-config=pki/authentication.yaml", "--anonymous-auth=true"}, []string{"--anonymous-auth: may not be given where"}},
	{"everything allowed to the issuers' anonymous", minimal, []string{"--authentication-config=pki/authentication.yaml", "--authorization-mode=AlwaysAllow"}, []string{"--authentication-config: its anonymous requests together with AlwaysAllow"}},
	{"proxy", minimal, proxied, nil},
	{"passwords", minimal, []string{"--basic-auth-file=pki/users.csv", "--htpasswd-file=pki/users.htpasswd", "--htpasswd-groups-file=pki/groups"}, nil},
	{"passwords that are not there", minimal, []string{"--basic-auth-file=no", "--htpasswd-file=pki", "--htpasswd-groups-file=no"}, []string{
		"--basic-auth-file: no: no such file", "--htpasswd-file: pki: is a folder", "--htpasswd-groups-file: no: no such file",
	}},
	{"tokens", minimal, []string{"--token-auth-file=pki/tokens.csv", "--hashed-token-file=pki/tokens.hashed"}, nil},
	{"groups without passwords", minimal, []string{"--htpasswd-groups-file=pki/groups"}, []string{"--htpasswd-groups-file: has no effect without authentication.htpasswdFile (--htpasswd-file)"}},
	{"proxy with all", minimal, append(proxied[:2:2], "--requestheader-allowed-names=a,b", "--requestheader-uid-headers=x-remote-uid,Other",
		"--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-"), nil},
	{"proxy without CA", minimal, []string{"--requestheader-allowed-names=a", "--requestheader-username-headers=X-Remote-User"}, []string{
		"--requestheader-allowed-names: has no effect without authentication.requestHeader.clientCAFile (--requestheader-client-ca-file)",
		"--requestheader-username-headers: has no effect without",
	}},
	{"proxy without names of users", minimal, proxied[:1], []string{"--requestheader-client-ca-file: lets nobody in without"}},
	{"proxy with empty names", minimal, append(proxied[:2:2], "--requestheader-allowed-names= ,", "--requestheader-group-headers=,X-Remote-Group"), []string{
		"--requestheader-group-headers: entry 1 is empty",
		"--requestheader-allowed-names: entry 2 is empty", "--requestheader-allowed-names: entry 1 is only white space",
	}},
	{"proxy with names that are none", minimal, append(proxied[:2:2], "--requestheader-group-headers= ", "--requestheader-extra-headers-prefix=X-Remote-Extra:"), []string{
		`--requestheader-group-headers: " " is not a name of a header`, `--requestheader-extra-headers-prefix: "X-Remote-Extra:" is not a name`,
	}},
	{"proxy with a UID header of its own", minimal, append(proxied[:2:2], "--requestheader-uid-headers=Uid"), []string{"--requestheader-uid-headers: does not have X-Remote-Uid"}},
	{"proxy with no CA file", minimal, append(proxied[1:2:2], "--requestheader-client-ca-file=no"), []string{"--requestheader-client-ca-file: no: no such file"}},

	{"everything allowed", minimal, []string{"--authorization-mode=AlwaysAllow"}, []string{"--authorization-mode: AlwaysAllow together with authentication.anonymous (--anonymous-auth)"}},
	{"everything allowed to the known", minimal, []string{"--authorization-mode=AlwaysAllow", "--anonymous-auth=false"}, nil},
	{"everything allowed after RBAC", minimal, []string{"--authorization-mode=RBAC,AlwaysAllow", "--anonymous-auth=false"}, []string{"--authorization-mode: AlwaysAllow allows everything, and leaves"}},
	{"nothing else allowed", minimal, []string{"--authorization-mode=RBAC,AlwaysDeny"}, nil},
	{"mode that is not here", minimal, []string{"--authorization-mode=ABAC,RBAC"}, []string{`--authorization-mode: "ABAC" is not known; choose from Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny`}},
	{"mode twice", minimal, []string{"--authorization-mode=RBAC,RBAC"}, []string{"--authorization-mode: entry 2 is given twice"}},
	{"no mode", minimal, []string{"--authorization-mode="}, []string{"--authorization-mode: is empty"}},

	{"log without policy", minimal, []string{"--audit-log-path=-"}, []string{"--audit-log-path: nothing is recorded without a policy"}},
	{"webhook without policy", minimal, []string{"--audit-webhook-config-file=pki/webhook.kubeconfig"}, []string{"--audit-webhook-config-file: nothing is recorded"}},
	{"policy alone", minimal, []string{"--audit-policy-file=pki/policy.yaml"}, []string{"--audit-policy-file: has no effect without a backend"}},
	{"log settings without log", minimal, []string{"--audit-log-maxage=3", "--audit-log-batch-max-size=7"}, []string{
		"--audit-log-maxage: has no effect without audit.log.path (--audit-log-path)", "--audit-log-batch-max-size: has no effect without audit.log.path",
	}},
	{"webhook settings without webhook", minimal, []string{"--audit-webhook-mode=blocking"}, []string{"--audit-webhook-mode: has no effect without audit.webhook.configFile"}},
	{"batch of a blocking log", audited, []string{"--audit-log-batch-max-size=7"}, []string{"--audit-log-batch-max-size: has no effect in mode blocking"}},
	{"log in batches", audited, []string{"--audit-log-mode=batch", "--audit-log-batch-max-size=7", "--audit-log-batch-max-wait=1s"}, nil},
	{"batch without time", audited, []string{"--audit-log-mode=batch", "--audit-log-batch-max-size=7"}, []string{"audit.log.batch.maxWait (--audit-log-batch-max-wait): 0s leaves"}},
	{"batch of nothing", audited, []string{"--audit-webhook-batch-max-size=0", "--audit-webhook-batch-buffer-size=-1"}, []string{
		"--audit-webhook-batch-buffer-size: -1 is not positive", "--audit-webhook-batch-max-size: 0 is not positive",
	}},
	{"rate that is none", audited, []string{"--audit-webhook-batch-throttle-qps=NaN", "--audit-webhook-batch-throttle-burst=0"}, []string{
		"--audit-webhook-batch-throttle-qps: NaN is not a rate", "--audit-webhook-batch-throttle-burst: 0 is not positive",
	}},
	{"rate without throttle", audited, []string{"--audit-webhook-batch-throttle-enable=false", "--audit-webhook-batch-throttle-qps=3"}, []string{"--audit-webhook-batch-throttle-qps: has no effect while batches are not throttled"}},
	{"truncated", audited, []string{"--audit-log-truncate-enabled", "--audit-log-truncate-max-event-size=1"}, nil},
	{"sizes of what is not truncated", audited, []string{"--audit-log-truncate-max-event-size=1"}, []string{"--audit-log-truncate-max-event-size: has no effect while nothing is truncated"}},
	{"batch smaller than event", audited, []string{"--audit-log-truncate-enabled", "--audit-log-truncate-max-batch-size=1"}, []string{"--audit-log-truncate-max-batch-size: 1 is smaller than"}},
	{"event of nothing", audited, []string{"--audit-log-truncate-enabled", "--audit-log-truncate-max-event-size=0"}, []string{"--audit-log-truncate-max-event-size: 0 is not positive"}},
	{"unknown audit words", audited, []string{"--audit-log-format=xml", "--audit-log-mode=later", "--audit-webhook-version=v1"}, []string{
		`--audit-log-format: "xml" is not known`, `--audit-log-mode: "later" is not known`, `--audit-webhook-version: "v1" is not known`,
	}},
	{"negative rotation", audited, []string{"--audit-log-maxsize=-1"}, []string{"--audit-log-maxsize: -1 is negative"}},
	{"compressed output", audited, []string{"--audit-log-path=-", "--audit-log-compress"}, []string{"--audit-log-compress: has no effect on standard output"}},
	{"no backoff", audited, []string{"--audit-webhook-initial-backoff=0s"}, []string{"--audit-webhook-initial-backoff: 0s does not wait"}},

	{"plugins", minimal, []string{"--enable-admission-plugins=NamespaceLifecycle", "--disable-admission-plugins=CertificateSigning"}, nil},
	{"plugin that is not here", minimal, []string{"--enable-admission-plugins=ImagePolicyWebhook"}, []string{`--enable-admission-plugins: "ImagePolicyWebhook" is not known`}},
	{"plugins of kubeadm", minimal, []string{"--enable-admission-plugins=NodeRestriction", "--authorization-mode=Node,RBAC"}, nil},
	{"plugin on and off", minimal, []string{"--enable-admission-plugins=CertificateSigning", "--disable-admission-plugins=CertificateSigning"}, []string{`--enable-admission-plugins: "CertificateSigning" is also in admission.disable`}},
	{"no limits", minimal, []string{"--max-requests-inflight=0", "--max-mutating-requests-inflight=0"}, nil},
	{"negative limits", minimal, []string{"--max-requests-inflight=-1", "--max-mutating-requests-inflight=-2"}, []string{"--max-requests-inflight: -1 is negative", "--max-mutating-requests-inflight: -2 is negative"}},
	{"no time", minimal, []string{"--request-timeout=0s"}, []string{"--request-timeout: 0s leaves no time"}},
	{"verbose", minimal, []string{"-v=10"}, nil},
	{"too verbose", minimal, []string{"-v", "11"}, []string{"-v: 11 is not a level"}},
}

func TestValidate(t *testing.T) {
	t.Chdir("testdata")
	for _, test := range validations {
		t.Run(test.name, func(t *testing.T) {
			c, err := load(t, append(test.base[:len(test.base):len(test.base)], test.args...)...)
			if err != nil {
				t.Fatal(err)
			}
			got := config.Problems(c.Validate())
			for i := range max(len(got), len(test.want)) {
				switch {
				case i >= len(got):
					t.Errorf("not refused: %s", test.want[i])
				case i >= len(test.want):
					t.Errorf("also refused: %v", got[i])
				case !strings.HasPrefix(got[i].Error(), test.want[i]):
					t.Errorf("refused as %q, want %q", got[i], test.want[i])
				case strings.Contains(got[i].Error(), "hunter2"):
					t.Errorf("tells the password: %v", got[i])
				case got[i].Mend == "":
					t.Errorf("no mend: %v", got[i])
				}
			}
		})
	}
}

// A CA of clients is none of proxies, unless these have names.
func TestSharedCA(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if _, err := pki.OpenAuthority(dir, name, name); err != nil {
			t.Fatal(err)
		}
	}
	a, b := filepath.Join(dir, "a.crt"), filepath.Join(dir, "b.crt")
	for _, test := range []struct {
		clients, proxies string
		names            []string
		refused          bool
	}{
		{a, b, nil, false},
		{a, a, nil, true},
		{a, a, []string{"--requestheader-allowed-names=proxy"}, false},
	} {
		args := append([]string{"--data-dir=data", "--service-account-issuer=https://gatehouse.example.org", proxied[1],
			"--client-ca-file=" + test.clients, "--requestheader-client-ca-file=" + test.proxies}, test.names...)
		c, err := load(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Validate()
		if (err != nil) != test.refused || err != nil && !strings.Contains(err.Error(), "any client could act as anybody") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestUnreadableFile(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	path := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(path, nil, 0); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, append(minimal[:2:2], "--client-ca-file="+path)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "--client-ca-file: "+path+": permission denied") {
		t.Errorf("got %v", err)
	}
}
