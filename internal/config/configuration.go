// Package config is the configuration of one Gatehouse server: a file of kind
// GatehouseConfiguration, the flags that win over it, and the rules that both
// have to keep.
//
// A setting is one field of [Configuration], and everything else follows from
// the field: its tags are its name in the file and its flag, its comment is the
// reference, its default is in [Default]. The flags, the strict decoder, the
// commented listing and docs/configuration.md are made from the fields, so that
// none of them can disagree with another.
//
// Refused are: unknown and repeated fields, values of another type, a second
// document, anchors and aliases, a file of more than 1 MiB, and, by
// [Configuration.Validate], settings that contradict each other or would have
// no effect. All problems are told at once, each with its place and its mend.
// The file holds no secret: what is secret is named by the path of its file.
package config

import "net"

// What a configuration file says of itself.
const (
	APIVersion = "gatehouse.dev/v1alpha1"
	Kind       = "GatehouseConfiguration"
)

// A Configuration is everything that an operator may decide about a server.
// Start from [Default]: the zero value is not valid.
//
// The tags of a field are its name in the file (json), its flag (flag, where a
// star stands for the audit backend, and "array" for a flag that is repeated
// and not split at commas), and whether it is the path of a file that must
// exist (path:"read") or of something that the server makes (path:"make").
type Configuration struct {
	// The version of the format, always gatehouse.dev/v1alpha1.
	// Default: gatehouse.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// The kind of the file, always GatehouseConfiguration.
	// Default: GatehouseConfiguration.
	Kind string `json:"kind"`

	Serving         Serving         `json:"serving"`
	Storage         Storage         `json:"storage"`
	Authentication  Authentication  `json:"authentication"`
	ServiceAccounts ServiceAccounts `json:"serviceAccounts"`
	Certificates    Certificates    `json:"certificates"`
	Authorization   Authorization   `json:"authorization"`
	Audit           Audit           `json:"audit"`
	Admission       Admission       `json:"admission"`
	Limits          Limits          `json:"limits"`
	Logging         Logging         `json:"logging"`

	// file is the path of the file that was read, and where tells for each
	// setting which line of it, or which flag, gave it. Both only serve to say
	// where a problem is.
	file  string
	where map[string]string
}

// Serving is where and how the server listens.
type Serving struct {
	// The IP address to listen on. 0.0.0.0 or :: listens on every address of
	// the machine.
	// Default: 0.0.0.0.
	BindAddress net.IP `json:"bindAddress" flag:"bind-address"`
	// The port for HTTPS, 1 to 65535. There is no port for plain HTTP.
	// Default: 6443.
	SecurePort int `json:"securePort" flag:"secure-port"`
	// The host name or IP address that machines elsewhere reach the server by,
	// with a port if it is another one, for cluster-info and for the serving
	// certificate that the server makes. Without it, an address of the machine.
	// Default: none.
	ExternalHostname string `json:"externalHostname" flag:"external-hostname"`
	// The folder in which the server keeps the serving certificate that it
	// makes for itself. Without it the data folder is used. May not be given
	// together with a serving certificate.
	// Default: none.
	CertDir string `json:"certDir" flag:"cert-dir" path:"make"`
	// The file with the serving certificate in PEM form, followed by those of
	// the CAs between it and the root. It is followed with its key: the two
	// take effect when they match. Without it the server makes its own.
	// Default: none.
	TLSCertFile string `json:"tlsCertFile" flag:"tls-cert-file" path:"read"`
	// The file with the private key of the serving certificate in PEM form.
	// Default: none.
	TLSPrivateKeyFile string `json:"tlsPrivateKeyFile" flag:"tls-private-key-file" path:"read"`
	// The lowest version of TLS to accept: VersionTLS10, VersionTLS11,
	// VersionTLS12 or VersionTLS13. Without it, VersionTLS12.
	// Default: none.
	TLSMinVersion string `json:"tlsMinVersion" flag:"tls-min-version"`
	// The cipher suites to accept in TLS 1.2 and below, by the names of Go's
	// crypto/tls. Without it, Go's own choice. Those of TLS 1.3 cannot be
	// chosen.
	// Default: none.
	TLSCipherSuites []string `json:"tlsCipherSuites" flag:"tls-cipher-suites"`
	// More serving certificates, each for the host names that a client asks
	// for (SNI). As a flag: CERT,KEY or CERT,KEY:NAME,NAME, repeated for each.
	// Default: none.
	TLSSNICertKeys []NamedCertificate `json:"tlsSNICertKeys" flag:"tls-sni-cert-key" path:"read"`
}

// A NamedCertificate is a serving certificate for some host names.
type NamedCertificate struct {
	// The file with the certificate in PEM form, followed by its chain.
	CertFile string `json:"certFile"`
	// The file with its private key in PEM form.
	KeyFile string `json:"keyFile"`
	// The host names, such as "api.example.org" or "*.example.org". Without
	// them, the names in the certificate.
	Names []string `json:"names,omitempty"`
}

// Storage is where the server keeps what it must not lose: in the embedded
// etcd of the data folder, or in an etcd cluster that many servers share.
type Storage struct {
	// The folder of the embedded etcd, and of every key that the server makes
	// for itself. It is made if it does not exist. Needed unless etcd servers
	// are given, and may not be given together with them.
	// Default: none.
	DataDir string `json:"dataDir" flag:"data-dir" path:"make"`
	// The file with an EncryptionConfiguration (apiserver.config.k8s.io/v1)
	// that says how objects are encrypted at rest. Without it the embedded
	// store encrypts Secrets with a key of its own. Needed with etcd servers.
	// Default: none.
	EncryptionProviderConfigFile string `json:"encryptionProviderConfigFile" flag:"encryption-provider-config" path:"read"`
	// The size of the embedded database, in bytes, at which it refuses writes
	// until something is deleted: from 16777216 (16 MiB) to 107374182400
	// (100 GiB), and 8 GiB unless told otherwise. An etcd cluster has its own.
	// Default: 8589934592.
	QuotaBackendBytes int64 `json:"quotaBackendBytes" flag:"quota-backend-bytes"`
	// How long a process goes on, as a duration from 1s to 1h, without proof
	// that what it knows of the store is true. Past that it serves nobody, since
	// it does not know who has been revoked.
	// Default: 10s.
	MaxStaleness Duration `json:"maxStaleness" flag:"max-staleness"`
	// Whether a process goes on serving past maxStaleness. Whoever was revoked
	// meanwhile is then let in by a process that is cut off from its store.
	// Default: false.
	ServeStale bool `json:"serveStale" flag:"serve-stale"`
	// The file outside the store that counts what was revoked, so that a store
	// is refused that was restored to before a revocation. Each process has its
	// own. Without it, revocation-epoch in the data folder, or none.
	// Default: none.
	RevocationEpochFile string `json:"revocationEpochFile" flag:"revocation-epoch-file" path:"make"`

	Etcd Etcd `json:"etcd"`
}

// Etcd is the cluster behind the server, if it is not the embedded one.
type Etcd struct {
	// The URLs of the etcd servers, such as https://10.0.0.1:2379. Every
	// server on one cluster needs the same keys, so with it the client CA and the
	// encryption have to come from files.
	// Default: none.
	Servers []string `json:"servers" flag:"etcd-servers"`
	// The file with the CA certificates of the etcd servers in PEM form.
	// Without it, those that the machine trusts.
	// Default: none.
	CAFile string `json:"caFile" flag:"etcd-cafile" path:"read"`
	// The file with the client certificate for etcd in PEM form.
	// Default: none.
	CertFile string `json:"certFile" flag:"etcd-certfile" path:"read"`
	// The file with the private key of that certificate in PEM form.
	// Default: none.
	KeyFile string `json:"keyFile" flag:"etcd-keyfile" path:"read"`
	// What the key of every object in etcd begins with.
	// Default: /registry.
	Prefix string `json:"prefix" flag:"etcd-prefix"`
}

// Authentication is which credentials prove who is calling.
type Authentication struct {
	// Whether a request without any credential is served as system:anonymous.
	// A request whose credential is refused never is.
	// Default: true.
	Anonymous bool `json:"anonymous" flag:"anonymous-auth"`
	// The file with the CA certificates, in PEM form, that client certificates
	// must chain to. Its common name is the user, its organizations the
	// groups. It is followed. Needed with etcd servers.
	// Default: none.
	ClientCAFile string `json:"clientCAFile" flag:"client-ca-file" path:"read"`
	// The CSV file of static bearer tokens: token, user, UID and, in quotes,
	// the groups.
	// Default: none.
	TokenFile string `json:"tokenFile" flag:"token-auth-file" path:"read"`
	// The file of hashed bearer tokens, as gatehouse token new writes their
	// lines: a name, a SHA-256 hash, the user, its groups and the end.
	// Default: none.
	HashedTokenFile string `json:"hashedTokenFile" flag:"hashed-token-file" path:"read"`
	// Whether bootstrap tokens, which are Secrets in kube-system, prove who is
	// calling. With it the server also deletes those that have expired, and
	// keeps the ConfigMap cluster-info of kube-public, which anybody may read.
	// Default: false.
	BootstrapTokens bool `json:"bootstrapTokens" flag:"enable-bootstrap-token-auth"`
	// The CSV file of user names and passwords, as Kubernetes read it before
	// 1.19: password, user, UID and, in quotes, the groups. The passwords stand
	// in it in plain text: prefer htpasswdFile.
	// Default: none.
	BasicAuthFile string `json:"basicAuthFile" flag:"basic-auth-file" path:"read"`
	// The file of user names and hashes of their passwords, in the format of
	// htpasswd. The hashes are bcrypt or argon2id.
	// Default: none.
	HtpasswdFile string `json:"htpasswdFile" flag:"htpasswd-file" path:"read"`
	// The file of the groups of these users, in the format of Apache's
	// AuthGroupFile: a group, a colon, and its users. Needs htpasswdFile.
	// Default: none.
	HtpasswdGroupsFile string `json:"htpasswdGroupsFile" flag:"htpasswd-groups-file" path:"read"`
	// What the server calls itself in the audiences of a token. A token for
	// none of them is refused. Without it, the service account issuers.
	// Default: none.
	APIAudiences []string `json:"apiAudiences" flag:"api-audiences"`
	// The API servers that ask whose a token is and are told of some only, each
	// by user, the name in its client certificate; audiences, its own, at least
	// one; and sources, of StaticToken, BootstrapToken, ServiceAccount,
	// LegacyServiceAccount, JWT, Webhook and single issuers (https URLs, or a
	// service account issuer): without them, all. Whoever is not in the list is
	// told of every token for the audiences that it asks for.
	// Default: none.
	WebhookClients []WebhookClient `json:"webhookClients"`

	JWT           JWT           `json:"jwt"`
	OIDC          OIDC          `json:"oidc"`
	Webhook       TokenWebhook  `json:"webhook"`
	RequestHeader RequestHeader `json:"requestHeader"`
}

// RequestHeader is which authenticating proxies are believed when they say in
// the headers of a request who is calling.
type RequestHeader struct {
	// The file with the CA certificates, in PEM form, that the client
	// certificate of an authenticating proxy must chain to. Use a CA that signs
	// for nobody else: its certificates can act as anybody. Needed for the
	// other settings of the proxy.
	// Default: none.
	ClientCAFile string `json:"clientCAFile" flag:"requestheader-client-ca-file" path:"read"`
	// The common names that a proxy's certificate may have. Without it, every
	// certificate of the CA is a proxy's. Needed if the CA is also one of
	// clients.
	// Default: none.
	AllowedNames []string `json:"allowedNames" flag:"requestheader-allowed-names"`
	// The headers with the user name, such as X-Remote-User. The first with a
	// value counts. Needed with the CA.
	// Default: none.
	UsernameHeaders []string `json:"usernameHeaders" flag:"requestheader-username-headers"`
	// The headers with the UID, of which X-Remote-Uid must be one. The first
	// with a value counts.
	// Default: none.
	UIDHeaders []string `json:"uidHeaders" flag:"requestheader-uid-headers"`
	// The headers with a group each, such as X-Remote-Group. All count.
	// Default: none.
	GroupHeaders []string `json:"groupHeaders" flag:"requestheader-group-headers"`
	// What the names of headers with extra attributes begin with, such as
	// X-Remote-Extra-. The rest of the name is the key, percent-encoded.
	// Default: none.
	ExtraHeaderPrefixes []string `json:"extraHeaderPrefixes" flag:"requestheader-extra-headers-prefix"`
}

// ServiceAccounts is how service account tokens are signed and verified.
type ServiceAccounts struct {
	// The issuers of tokens: the first one signs, all are accepted. Each is a
	// URL or a plain string; discovery needs an https URL. At least one.
	// Default: none.
	Issuers []string `json:"issuers" flag:"service-account-issuer,array"`
	// The files with the keys that verify tokens, public or private, RSA or
	// ECDSA, any number in a file in PEM form. They are followed. Needed with a
	// signing key, whose public half must be among them.
	// Default: none.
	KeyFiles []string `json:"keyFiles" flag:"service-account-key-file,array" path:"read"`
	// The file with the private key that signs tokens in PEM form. It is
	// followed. Without it the server makes one, in the data folder or in the
	// etcd cluster, which gatehouse keys rotate replaces.
	// Default: none.
	SigningKeyFile string `json:"signingKeyFile" flag:"service-account-signing-key-file" path:"read"`
	// The Unix socket of a program that signs tokens and tells the keys that
	// verify them (k8s.io/externaljwt): a path, or an abstract name after an @.
	// May not be given together with files of keys.
	// Default: none.
	SigningEndpoint string `json:"signingEndpoint" flag:"service-account-signing-endpoint"`
	// The https URL that the discovery document of the first issuer names for
	// the key set, where that is published elsewhere too. Without it, that of
	// this server. Discovery is there for an https issuer without a query.
	// Default: none.
	JWKSURI string `json:"jwksURI" flag:"service-account-jwks-uri"`
	// Whether a token is refused once its service account, or what else it is
	// bound to, is gone. It always is: false is not accepted.
	// Default: true.
	Lookup bool `json:"lookup" flag:"service-account-lookup"`
	// The longest life of a token, as a duration from 1h to 1193046h28m16s
	// (2^32 seconds). Who asks for longer gets this. 0s sets no limit.
	// Default: 0s.
	MaxTokenExpiration Duration `json:"maxTokenExpiration" flag:"service-account-max-token-expiration"`
	// Whether the token that a pod mounts lives for a year instead of an hour,
	// for clients that never read it again.
	// Default: true.
	ExtendTokenExpiration bool `json:"extendTokenExpiration" flag:"service-account-extend-token-expiration"`
	// Whether each new service account gets a Secret with a token that never
	// expires, as before Kubernetes 1.24.
	// Default: false.
	AutoTokenSecrets bool `json:"autoTokenSecrets" flag:"service-account-auto-token-secrets"`
	// For how long a token Secret that an account lists has to be unused before
	// it is marked invalid, and for how long again before it is deleted. Manual
	// ones are left alone.
	// Default: 8760h0m0s.
	LegacyTokenCleanUpPeriod Duration `json:"legacyTokenCleanUpPeriod" flag:"legacy-service-account-token-clean-up-period"`
	// The file with the CA certificates that clients in a pod shall trust, in
	// PEM form, for the ConfigMap kube-root-ca.crt and for token Secrets. It is
	// followed.
	// Default: none.
	RootCAFile string `json:"rootCAFile" flag:"root-ca-file" path:"read"`
}

// Authorization is who decides whether a caller may do something.
type Authorization struct {
	// The deciders in order, of Node, RBAC, Webhook, AlwaysAllow and AlwaysDeny.
	// AlwaysAllow stands alone and not together with anonymous requests.
	// Default: Node,RBAC.
	Modes []string `json:"modes" flag:"authorization-mode"`
	// The file with an AuthorizationConfiguration (apiserver.config.k8s.io/v1)
	// that describes the deciders, webhooks among them, instead of the modes.
	// It is followed, with the files that it leads to.
	// Default: none.
	ConfigFile string `json:"configFile" flag:"authorization-config" path:"read"`

	Webhook AccessWebhook `json:"webhook"`
}

// Admission is which checks an object passes before it is stored.
type Admission struct {
	// Plugins to switch on besides those that are on by default, which are all
	// of NamespaceLifecycle, ServiceAccount, CertificateApproval, CertificateSigning,
	// ClusterTrustBundleAttest, CertificateSubjectRestriction and
	// NodeRestriction.
	// Default: none.
	Enable []string `json:"enable" flag:"enable-admission-plugins"`
	// Plugins to switch off.
	// Default: none.
	Disable []string `json:"disable" flag:"disable-admission-plugins"`
}

// Limits is how much the server takes on at once.
type Limits struct {
	// How many requests that only read may be served at the same time. More
	// are answered with 429. 0 sets no limit.
	// Default: 400.
	MaxRequestsInflight int `json:"maxRequestsInflight" flag:"max-requests-inflight"`
	// How many requests that change something may be served at the same time.
	// More are answered with 429. 0 sets no limit.
	// Default: 200.
	MaxMutatingRequestsInflight int `json:"maxMutatingRequestsInflight" flag:"max-mutating-requests-inflight"`
	// How long a request may take, as a duration. A watch, a log and an open
	// stream are not requests in this sense.
	// Default: 1m0s.
	RequestTimeout Duration `json:"requestTimeout" flag:"request-timeout"`
}

// Logging is what the server says about its work.
type Logging struct {
	// How much is logged, from 0 to 10: from 1 on what the libraries say of
	// their work, from 4 on everything. No level logs a secret.
	// Default: 0.
	Verbosity int `json:"verbosity" flag:"v"`
}
