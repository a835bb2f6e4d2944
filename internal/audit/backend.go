package audit

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gopkg.in/natefinch/lumberjack.v2"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit"
	kubewebhook "k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/apiserver/plugin/pkg/audit/buffered"
	pluginlog "k8s.io/apiserver/plugin/pkg/audit/log"
	"k8s.io/apiserver/plugin/pkg/audit/truncate"
	pluginwebhook "k8s.io/apiserver/plugin/pkg/audit/webhook"
)

// direct reports whether each event at Metadata is one line of JSON in the log
// and nothing else, written before the request goes on.
func (c *Config) direct() bool {
	d := &c.Log.Delivery
	return c.Webhook.ConfigFile == "" && c.Log.Format == pluginlog.FormatJson && d.Mode != ModeBatch && !d.TruncateEnabled
}

// backend returns the log backend that writes to file.
func (c *LogConfig) backend(file *logFile) audit.Backend {
	var b audit.Backend = file
	if c.Format != pluginlog.FormatJson {
		b = pluginlog.NewBackend(file.out, c.Format, auditv1.SchemeGroupVersion)
	}
	// One writer and batches of one: parallel writers would only wait for each
	// other's lock.
	return c.Delivery.wrap(b, false)
}

// open opens the log file once, so that a path that cannot be written to is
// known at start and not at the first request.
func (c *LogConfig) open() (io.Writer, func() error, error) {
	if c.Path == "-" {
		return os.Stdout, func() error { return nil }, nil
	}
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o700); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(c.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if c.MaxSize == 0 {
		return f, f.Close, nil
	}
	if err := f.Close(); err != nil {
		return nil, nil, err
	}
	rotating := &lumberjack.Logger{
		Filename: c.Path, MaxAge: c.MaxAge, MaxBackups: c.MaxBackup,
		MaxSize: c.MaxSize, Compress: c.Compress,
	}
	return rotating, rotating.Close, nil
}

// backend returns the webhook backend.
func (c *WebhookConfig) backend() (audit.Backend, error) {
	retry := kubewebhook.DefaultRetryBackoffWithInitialDelay(c.InitialBackoff)
	b, err := pluginwebhook.NewBackend(c.ConfigFile, auditv1.SchemeGroupVersion, retry, nil)
	if err != nil {
		return nil, fmt.Errorf("--audit-webhook-config-file %s: %w; it must be a kubeconfig "+
			"whose current context names the service", c.ConfigFile, err)
	}
	return c.Delivery.wrap(b, true), nil
}

// wrap returns b with the mode and the truncation of d. If async, batches are
// delivered in parallel.
func (d *Delivery) wrap(b audit.Backend, async bool) audit.Backend {
	switch d.Mode {
	case ModeBatch:
		b = buffered.NewBackend(b, buffered.BatchConfig{
			BufferSize: d.BatchBufferSize, MaxBatchSize: d.BatchMaxSize, MaxBatchWait: d.BatchMaxWait,
			ThrottleEnable: d.ThrottleEnable, ThrottleQPS: d.ThrottleQPS, ThrottleBurst: d.ThrottleBurst,
			AsyncDelegate: async,
		})
	case ModeBlocking:
		b = lenient{b}
	}
	if d.TruncateEnabled {
		b = truncate.NewBackend(b, truncate.Config{
			MaxEventSize: d.TruncateMaxEventSize, MaxBatchSize: d.TruncateMaxBatchSize,
		}, auditv1.SchemeGroupVersion)
	}
	return b
}

// A lenient backend serves the request even if its event was not written. The
// backend inside has logged and counted the failure.
type lenient struct{ audit.Backend }

func (l lenient) ProcessEvents(events ...*auditinternal.Event) bool {
	l.Backend.ProcessEvents(events...)
	return true
}
