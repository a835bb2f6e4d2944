package config

// Audit is what is written down about every request, and where.
type Audit struct {
	// The file with the audit Policy (audit.k8s.io/v1) that says which
	// requests are recorded, and how much of each. Needed with a backend, and
	// has no effect without one.
	// Default: none.
	PolicyFile string `json:"policyFile" flag:"audit-policy-file" path:"read"`

	Log     AuditLog     `json:"log"`
	Webhook AuditWebhook `json:"webhook"`
}

// AuditLog is the audit backend that writes to a file.
type AuditLog struct {
	// The file to write events to, or - for standard output. Without it the
	// backend is off.
	// Default: none.
	Path string `json:"path" flag:"audit-log-path" path:"make"`
	// How events are written: json, or legacy for a line of text.
	// Default: json.
	Format string `json:"format" flag:"audit-log-format"`
	// The API version of the written events, always audit.k8s.io/v1.
	// Default: audit.k8s.io/v1.
	Version string `json:"version" flag:"audit-log-version"`
	// How many days an old file is kept. 0 sets no limit.
	// Default: 366.
	MaxAge int `json:"maxAge" flag:"audit-log-maxage"`
	// How many old files are kept. 0 sets no limit.
	// Default: 100.
	MaxBackups int `json:"maxBackups" flag:"audit-log-maxbackup"`
	// The size in megabytes at which a new file is begun. 0 never begins one.
	// Default: 100.
	MaxSize int `json:"maxSize" flag:"audit-log-maxsize"`
	// Whether old files are compressed with gzip.
	// Default: false.
	Compress bool `json:"compress" flag:"audit-log-compress"`
	// When a request is answered: blocking waits until its event is written,
	// blocking-strict also fails the request if that fails, batch writes
	// later.
	// Default: blocking.
	Mode string `json:"mode" flag:"audit-log-mode"`

	Batch    AuditBatch    `json:"batch"`
	Truncate AuditTruncate `json:"truncate"`
}

// AuditWebhook is the audit backend that sends to a server.
type AuditWebhook struct {
	// The kubeconfig file of the server to send events to. Without it the
	// backend is off.
	// Default: none.
	ConfigFile string `json:"configFile" flag:"audit-webhook-config-file" path:"read"`
	// The API version of the sent events, always audit.k8s.io/v1.
	// Default: audit.k8s.io/v1.
	Version string `json:"version" flag:"audit-webhook-version"`
	// How long to wait before the first repetition of a failed call, as a
	// duration.
	// Default: 10s.
	InitialBackoff Duration `json:"initialBackoff" flag:"audit-webhook-initial-backoff"`
	// When a request is answered: batch sends its event later, blocking waits
	// until it is sent, blocking-strict also fails the request if that fails.
	// Default: batch.
	Mode string `json:"mode" flag:"audit-webhook-mode"`

	Batch    AuditBatch    `json:"batch"`
	Truncate AuditTruncate `json:"truncate"`
}

// AuditBatch is how a backend collects events in the mode batch. It has no
// effect in the other modes.
type AuditBatch struct {
	// How many events may wait. More are dropped.
	// Default: 10000.
	BufferSize int `json:"bufferSize" flag:"audit-*-batch-buffer-size"`
	// How many events go into one batch.
	// Default: 1 (log), 400 (webhook).
	MaxSize int `json:"maxSize" flag:"audit-*-batch-max-size"`
	// How long a batch may wait to become full, as a duration.
	// Default: 0s (log), 30s (webhook).
	MaxWait Duration `json:"maxWait" flag:"audit-*-batch-max-wait"`
	// Whether the rate of batches is limited.
	// Default: false (log), true (webhook).
	ThrottleEnable bool `json:"throttleEnable" flag:"audit-*-batch-throttle-enable"`
	// How many batches a second there may be on average.
	// Default: 0 (log), 10 (webhook).
	ThrottleQPS float32 `json:"throttleQPS" flag:"audit-*-batch-throttle-qps"`
	// How many batches there may be at once after a quiet time.
	// Default: 0 (log), 15 (webhook).
	ThrottleBurst int `json:"throttleBurst" flag:"audit-*-batch-throttle-burst"`
}

// AuditTruncate is what a backend does with events that are too big.
type AuditTruncate struct {
	// Whether too big events are cut, and too big batches are split.
	// Default: false.
	Enabled bool `json:"enabled" flag:"audit-*-truncate-enabled"`
	// The biggest batch in bytes.
	// Default: 10485760.
	MaxBatchSize int64 `json:"maxBatchSize" flag:"audit-*-truncate-max-batch-size"`
	// The biggest event in bytes. From a bigger one the request and response
	// are taken out, and if that is not enough it is dropped.
	// Default: 102400.
	MaxEventSize int64 `json:"maxEventSize" flag:"audit-*-truncate-max-event-size"`
}
