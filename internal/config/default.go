package config

import (
	"net"
	"time"
)

// Names that a setting may have as its value.
const (
	ModeNode        = "Node"
	ModeRBAC        = "RBAC"
	ModeWebhook     = "Webhook"
	ModeAlwaysAllow = "AlwaysAllow"
	ModeAlwaysDeny  = "AlwaysDeny"

	AuditModeBatch          = "batch"
	AuditModeBlocking       = "blocking"
	AuditModeBlockingStrict = "blocking-strict"

	AuditFormatJSON   = "json"
	AuditFormatLegacy = "legacy"
	AuditVersion      = "audit.k8s.io/v1"
)

// AuthorizationModes returns the deciders that this server has.
func AuthorizationModes() []string {
	return []string{ModeNode, ModeRBAC, ModeWebhook, ModeAlwaysAllow, ModeAlwaysDeny}
}

// AdmissionPlugins returns the admission plugins that this server has. All are
// on by default, also NodeRestriction: without it a node could write to others.
func AdmissionPlugins() []string {
	return []string{
		"NamespaceLifecycle", "ServiceAccount", "CertificateApproval", "CertificateSigning", "ClusterTrustBundleAttest",
		"CertificateSubjectRestriction", "NodeRestriction",
	}
}

// Default returns the configuration that holds where nothing is said. Its
// values are those of kube-apiserver v1.37, but for the modes of authorization,
// which are those that kubeadm sets, and for the life of certificates, which is a
// month and not a year. It is not valid by itself: an issuer and a store have no
// default.
func Default() *Configuration {
	return &Configuration{
		APIVersion: APIVersion,
		Kind:       Kind,
		Serving:    Serving{BindAddress: net.IPv4zero, SecurePort: 6443},
		Storage:    Storage{QuotaBackendBytes: 8 << 30, MaxStaleness: Duration(10 * time.Second), Etcd: Etcd{Prefix: "/registry"}},
		Authentication: Authentication{
			Anonymous: true, JWT: defaultJWT(), OIDC: defaultOIDC(), Webhook: defaultTokenWebhook(),
		},
		ServiceAccounts: ServiceAccounts{Lookup: true, ExtendTokenExpiration: true, LegacyTokenCleanUpPeriod: Duration(365 * 24 * time.Hour)},
		Certificates:    defaultCertificates(),
		Authorization:   Authorization{Modes: []string{ModeNode, ModeRBAC}, Webhook: defaultAccessWebhook()},
		Audit: Audit{
			Log: AuditLog{
				Format: AuditFormatJSON, Version: AuditVersion, Mode: AuditModeBlocking,
				MaxAge: 366, MaxBackups: 100, MaxSize: 100,
				// A line is written whether it comes alone or with others, so
				// there is nothing to wait for.
				Batch:    AuditBatch{BufferSize: 10000, MaxSize: 1},
				Truncate: defaultTruncate(),
			},
			Webhook: AuditWebhook{
				Version: AuditVersion, Mode: AuditModeBatch,
				InitialBackoff: Duration(10 * time.Second),
				Batch: AuditBatch{
					BufferSize: 10000, MaxSize: 400, MaxWait: Duration(30 * time.Second),
					ThrottleEnable: true, ThrottleQPS: 10, ThrottleBurst: 15,
				},
				Truncate: defaultTruncate(),
			},
		},
		Limits: Limits{
			MaxRequestsInflight: 400, MaxMutatingRequestsInflight: 200,
			RequestTimeout: Duration(time.Minute),
		},
	}
}

func defaultTruncate() AuditTruncate {
	return AuditTruncate{MaxBatchSize: 10 << 20, MaxEventSize: 100 << 10}
}
