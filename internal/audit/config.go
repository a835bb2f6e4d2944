package audit

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	pluginlog "k8s.io/apiserver/plugin/pkg/audit/log"
)

// A Config is what the operator says about auditing: kube-apiserver's flags,
// with the same names, meanings and defaults. Begin with [DefaultConfig].
type Config struct {
	// PolicyFile is --audit-policy-file: a Policy of audit.k8s.io/v1. Without
	// one nothing is recorded.
	PolicyFile string
	Log        LogConfig
	Webhook    WebhookConfig
}

// A LogConfig says how events are written to a file.
type LogConfig struct {
	// Path is --audit-log-path. "-" is standard output.
	Path string
	// MaxAge is --audit-log-maxage, in days; 0 keeps old files for ever.
	MaxAge int
	// MaxBackup is --audit-log-maxbackup; 0 keeps all old files.
	MaxBackup int
	// MaxSize is --audit-log-maxsize, in megabytes; 0 never rotates.
	MaxSize int
	// Compress is --audit-log-compress: old files are gzipped.
	Compress bool
	// Format is --audit-log-format: "json", or "legacy" for a line of text.
	Format string
	// Version is --audit-log-version.
	Version  string
	Delivery Delivery
}

// A WebhookConfig says how events are sent to another service.
type WebhookConfig struct {
	// ConfigFile is --audit-webhook-config-file: a kubeconfig.
	ConfigFile string
	// InitialBackoff is --audit-webhook-initial-backoff, the time before the
	// first retry.
	InitialBackoff time.Duration
	// Version is --audit-webhook-version.
	Version  string
	Delivery Delivery
}

// A Delivery says how events are handed to one backend. Its flags exist once
// for the log and once for the webhook; B below is "log" or "webhook".
type Delivery struct {
	// Mode is --audit-B-mode: "batch" buffers events and may lose them,
	// "blocking" makes the caller wait for them, and "blocking-strict" also
	// refuses a request whose first event could not be written.
	Mode string
	// BatchBufferSize is --audit-B-batch-buffer-size, in events. It and the
	// other Batch and Throttle fields matter in mode "batch" only.
	BatchBufferSize int
	// BatchMaxSize is --audit-B-batch-max-size, in events.
	BatchMaxSize int
	// BatchMaxWait is --audit-B-batch-max-wait.
	BatchMaxWait time.Duration
	// ThrottleEnable is --audit-B-batch-throttle-enable.
	ThrottleEnable bool
	// ThrottleQPS is --audit-B-batch-throttle-qps, in batches.
	ThrottleQPS float32
	// ThrottleBurst is --audit-B-batch-throttle-burst, in batches.
	ThrottleBurst int
	// TruncateEnabled is --audit-B-truncate-enabled.
	TruncateEnabled bool
	// TruncateMaxBatchSize is --audit-B-truncate-max-batch-size, in bytes.
	TruncateMaxBatchSize int64
	// TruncateMaxEventSize is --audit-B-truncate-max-event-size, in bytes. A
	// larger event loses its objects, and is dropped if that is not enough.
	TruncateMaxEventSize int64
}

// Modes of delivery.
const (
	ModeBatch          = "batch"
	ModeBlocking       = "blocking"
	ModeBlockingStrict = "blocking-strict"
)

// DefaultConfig returns kube-apiserver's defaults
// (pkg/server/options/audit.go): no policy, no backend.
func DefaultConfig() Config {
	const version = "audit.k8s.io/v1"
	truncated := Delivery{
		BatchBufferSize:      10000,
		TruncateMaxBatchSize: 10 << 20,
		TruncateMaxEventSize: 100 << 10,
	}
	log, webhook := truncated, truncated
	log.Mode, log.BatchMaxSize = ModeBlocking, 1
	webhook.Mode, webhook.BatchMaxSize = ModeBatch, 400
	webhook.BatchMaxWait = 30 * time.Second
	webhook.ThrottleEnable, webhook.ThrottleQPS, webhook.ThrottleBurst = true, 10, 15
	return Config{
		Log: LogConfig{
			MaxAge: 366, MaxBackup: 100, MaxSize: 100,
			Format: pluginlog.FormatJson, Version: version, Delivery: log,
		},
		Webhook: WebhookConfig{
			InitialBackoff: 10 * time.Second, Version: version, Delivery: webhook,
		},
	}
}

// check finds what is wrong with c itself, without opening anything. Fields of
// a backend that is not in use are not looked at, as upstream.
func (c *Config) check() error {
	hasBackend := c.Log.Path != "" || c.Webhook.ConfigFile != ""
	switch {
	case c.PolicyFile == "" && hasBackend:
		return errors.New("--audit-policy-file is not set: without a policy no event " +
			"reaches --audit-log-path or --audit-webhook-config-file; set it, or leave those out")
	case c.PolicyFile != "" && !hasBackend:
		return errors.New("--audit-policy-file is set but its events would go nowhere: " +
			"set --audit-log-path or --audit-webhook-config-file, or leave it out")
	}
	var errs []error
	if c.Log.Path != "" {
		errs = append(errs, c.Log.check()...)
	}
	if c.Webhook.ConfigFile != "" {
		errs = append(errs, c.Webhook.check()...)
	}
	return errors.Join(errs...)
}

func (c *LogConfig) check() []error {
	errs := c.Delivery.check("log")
	errs = append(errs, checkOneOf("--audit-log-version", c.Version, auditv1.SchemeGroupVersion.String()))
	errs = append(errs, checkOneOf("--audit-log-format", c.Format, pluginlog.AllowedFormats...))
	for _, f := range []struct {
		flag  string
		value int
	}{
		{"--audit-log-maxage", c.MaxAge},
		{"--audit-log-maxbackup", c.MaxBackup},
		{"--audit-log-maxsize", c.MaxSize},
	} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("%s %d: must not be negative", f.flag, f.value))
		}
	}
	return errs
}

func (c *WebhookConfig) check() []error {
	errs := c.Delivery.check("webhook")
	errs = append(errs, checkOneOf("--audit-webhook-version", c.Version, auditv1.SchemeGroupVersion.String()))
	if c.InitialBackoff <= 0 {
		errs = append(errs, fmt.Errorf("--audit-webhook-initial-backoff %v: must be positive", c.InitialBackoff))
	}
	return errs
}

func (d *Delivery) check(backend string) []error {
	flag := func(name string) string { return "--audit-" + backend + "-" + name }
	errs := []error{checkOneOf(flag("mode"), d.Mode, ModeBatch, ModeBlocking, ModeBlockingStrict)}
	positive := func(name string, value float64) {
		if value <= 0 {
			errs = append(errs, fmt.Errorf("%s %v: must be positive", flag(name), value))
		}
	}
	if d.Mode == ModeBatch {
		positive("batch-buffer-size", float64(d.BatchBufferSize))
		positive("batch-max-size", float64(d.BatchMaxSize))
		if d.ThrottleEnable {
			positive("batch-throttle-qps", float64(d.ThrottleQPS))
			positive("batch-throttle-burst", float64(d.ThrottleBurst))
		}
	}
	positive("truncate-max-event-size", float64(d.TruncateMaxEventSize))
	if d.TruncateMaxBatchSize < d.TruncateMaxEventSize {
		errs = append(errs, fmt.Errorf("%s %d: must be at least %s, which is %d",
			flag("truncate-max-batch-size"), d.TruncateMaxBatchSize,
			flag("truncate-max-event-size"), d.TruncateMaxEventSize))
	}
	return errs
}

func checkOneOf(flag, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s %q: must be one of %s", flag, value, strings.Join(allowed, ", "))
}

// readPolicy reads the policy in file. It refuses unknown and repeated fields,
// which upstream only warns about: a misspelt field makes a rule match more
// than was meant, and so hides requests from the rules after it.
func readPolicy(file string) (audit.PolicyRuleEvaluator, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--audit-policy-file: %w", err)
	}
	strict := serializer.NewCodecFactory(audit.Scheme, serializer.EnableStrict).UniversalDecoder()
	_, _, err = strict.Decode(text, nil, &auditinternal.Policy{})
	if runtime.IsStrictDecodingError(err) {
		return nil, fmt.Errorf("--audit-policy-file %s: %w; correct or remove the field", file, err)
	}
	p, err := policy.LoadPolicyFromBytes(text)
	if err != nil {
		return nil, fmt.Errorf("--audit-policy-file %s: %w; it must be one %s Policy with at least one rule",
			file, err, auditv1.SchemeGroupVersion)
	}
	return policy.NewPolicyRuleEvaluator(p), nil
}
