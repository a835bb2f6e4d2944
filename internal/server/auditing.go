package server

import (
	"time"

	"gatehouse.dev/gatehouse/internal/audit"
	"gatehouse.dev/gatehouse/internal/config"
)

// auditConfig is what the configuration says about auditing.
func auditConfig(cfg *config.Configuration) audit.Config {
	log, hook := cfg.Audit.Log, cfg.Audit.Webhook
	return audit.Config{
		PolicyFile: cfg.Audit.PolicyFile,
		Log: audit.LogConfig{
			Path: log.Path, MaxAge: log.MaxAge, MaxBackup: log.MaxBackups, MaxSize: log.MaxSize,
			Compress: log.Compress, Format: log.Format, Version: log.Version,
			Delivery: delivery(log.Mode, log.Batch, log.Truncate),
		},
		Webhook: audit.WebhookConfig{
			ConfigFile: hook.ConfigFile, InitialBackoff: time.Duration(hook.InitialBackoff), Version: hook.Version,
			Delivery: delivery(hook.Mode, hook.Batch, hook.Truncate),
		},
	}
}

func delivery(mode string, b config.AuditBatch, t config.AuditTruncate) audit.Delivery {
	return audit.Delivery{
		Mode:            mode,
		BatchBufferSize: b.BufferSize, BatchMaxSize: b.MaxSize, BatchMaxWait: time.Duration(b.MaxWait),
		ThrottleEnable: b.ThrottleEnable, ThrottleQPS: b.ThrottleQPS, ThrottleBurst: b.ThrottleBurst,
		TruncateEnabled: t.Enabled, TruncateMaxBatchSize: t.MaxBatchSize, TruncateMaxEventSize: t.MaxEventSize,
	}
}
