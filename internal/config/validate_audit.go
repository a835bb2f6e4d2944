package config

import "math"

// audit checks both backends. A backend without a policy records nothing in
// kube-apiserver, which is not what its operator wants: here it is refused.
func (k *check) audit() {
	a := &k.c.Audit
	logs, sends := a.Log.Path != "", a.Webhook.ConfigFile != ""
	if a.PolicyFile == "" && logs {
		k.refuse(&a.Log.Path, "say with "+k.name(&a.PolicyFile)+" what is recorded", "nothing is recorded without a policy")
	}
	if a.PolicyFile == "" && sends {
		k.refuse(&a.Webhook.ConfigFile, "say with "+k.name(&a.PolicyFile)+" what is recorded", "nothing is recorded without a policy")
	}
	if a.PolicyFile != "" && !logs && !sends {
		k.refuse(&a.PolicyFile, "set "+k.name(&a.Log.Path)+" or "+k.name(&a.Webhook.ConfigFile), "has no effect without a backend")
	}
	if logs {
		k.auditLog()
		k.backend(backend{"audit.log.", &a.Log.Mode, &a.Log.Version, &a.Log.Batch, &a.Log.Truncate})
	} else {
		k.unused("audit.log.", nil, "has no effect without "+k.name(&a.Log.Path), "remove it, or name a file to write to")
	}
	if sends {
		if a.Webhook.InitialBackoff <= 0 {
			k.refuse(&a.Webhook.InitialBackoff, "choose a duration such as 10s", "%s does not wait", a.Webhook.InitialBackoff)
		}
		k.backend(backend{"audit.webhook.", &a.Webhook.Mode, &a.Webhook.Version, &a.Webhook.Batch, &a.Webhook.Truncate})
	} else {
		k.unused("audit.webhook.", nil, "has no effect without "+k.name(&a.Webhook.ConfigFile), "remove it, or name a kubeconfig file")
	}
}

func (k *check) auditLog() {
	l := &k.c.Audit.Log
	k.oneOf(&l.Format, AuditFormatJSON, AuditFormatLegacy)
	for _, field := range []*int{&l.MaxAge, &l.MaxBackups, &l.MaxSize} {
		if *field < 0 {
			k.refuse(field, "choose a number from 1, or 0 for no limit", "%d is negative", *field)
		}
	}
	if l.Path == standardOutput && l.Compress {
		k.refuse(&l.Compress, "remove it, or write to a file", "has no effect on standard output")
	}
}

// A backend is what both audit backends have.
type backend struct {
	path     string
	mode     *string
	version  *string
	batch    *AuditBatch
	truncate *AuditTruncate
}

func (k *check) backend(b backend) {
	k.oneOf(b.mode, AuditModeBatch, AuditModeBlocking, AuditModeBlockingStrict)
	k.oneOf(b.version, AuditVersion)
	if *b.mode == AuditModeBatch {
		k.batch(b)
	} else {
		k.unused(b.path+"batch.", nil, "has no effect in mode "+*b.mode, "remove it, or set "+k.name(b.mode)+" to batch")
	}
	t := b.truncate
	switch {
	case !t.Enabled:
		k.unused(b.path+"truncate.", nil, "has no effect while nothing is truncated", "remove it, or set "+k.name(&t.Enabled))
	case t.MaxEventSize <= 0:
		k.refuse(&t.MaxEventSize, "choose a number of bytes", "%d is not positive", t.MaxEventSize)
	case t.MaxBatchSize < t.MaxEventSize:
		k.refuse(&t.MaxBatchSize, "choose one that is not smaller", "%d is smaller than %s", t.MaxBatchSize, k.name(&t.MaxEventSize))
	}
}

func (k *check) batch(b backend) {
	for _, field := range []*int{&b.batch.BufferSize, &b.batch.MaxSize} {
		if *field <= 0 {
			k.refuse(field, "choose a number of events", "%d is not positive", *field)
		}
	}
	if b.batch.MaxSize > 1 && b.batch.MaxWait <= 0 {
		k.refuse(&b.batch.MaxWait, "choose a duration such as 30s", "%s leaves a batch no time to fill", b.batch.MaxWait)
	}
	if !b.batch.ThrottleEnable {
		k.unused(b.path+"batch.throttle", &b.batch.ThrottleEnable, "has no effect while batches are not throttled",
			"remove it, or set "+k.name(&b.batch.ThrottleEnable))
		return
	}
	if q := float64(b.batch.ThrottleQPS); !(q > 0) || math.IsInf(q, 1) {
		k.refuse(&b.batch.ThrottleQPS, "choose a number over 0, or do not throttle", "%v is not a rate", q)
	}
	if b.batch.ThrottleBurst <= 0 {
		k.refuse(&b.batch.ThrottleBurst, "choose a number of batches", "%d is not positive", b.batch.ThrottleBurst)
	}
}
