package config

import (
	"errors"
	"slices"
	"time"

	"gatehouse.dev/gatehouse/internal/authorizers"
)

// Authorizers returns what package authorizers has to know.
func (c *Configuration) Authorizers() authorizers.Config {
	a := &c.Authorization
	if a.ConfigFile != "" {
		return authorizers.Config{Path: a.ConfigFile}
	}
	return authorizers.Config{Flags: authorizers.Flags{
		Modes: a.Modes, KubeconfigFile: a.Webhook.ConfigFile, Version: a.Webhook.Version,
		AuthorizedTTL: time.Duration(a.Webhook.AuthorizedTTL), UnauthorizedTTL: time.Duration(a.Webhook.UnauthorizedTTL),
	}}
}

// authorization checks who decides, with the code that reads it at start.
func (k *check) authorization() {
	a := &k.c.Authorization
	if a.ConfigFile != "" {
		k.described()
		return
	}
	modes := &a.Modes
	k.set(modes, AuthorizationModes()...)
	if len(*modes) == 0 {
		k.refuse(modes, "write Node,RBAC", "is empty")
	}
	k.accessWebhook()
	if !slices.Contains(*modes, ModeAlwaysAllow) {
		return
	}
	if len(*modes) > 1 {
		k.refuse(modes, "remove "+ModeAlwaysAllow, "%s allows everything, and leaves the other modes nothing to decide", ModeAlwaysAllow)
	}
	k.everybody(modes)
}

// accessWebhook checks the webhook of the flags.
func (k *check) accessWebhook() {
	w := &k.c.Authorization.Webhook
	if !slices.Contains(k.c.Authorization.Modes, ModeWebhook) {
		k.unused("authorization.webhook.", nil, "has no effect without the mode "+ModeWebhook, "remove it, or add the mode")
		return
	}
	if w.ConfigFile == "" {
		k.refuse(&w.ConfigFile, "describe the webhook in a kubeconfig; docs/webhooks.md has an example", "is needed with the mode %s", ModeWebhook)
		return
	}
	k.oneOf(&w.Version, "v1", "v1beta1")
	for _, ttl := range []*Duration{&w.AuthorizedTTL, &w.UnauthorizedTTL} {
		if *ttl < 0 {
			k.refuse(ttl, mendDuration, "%s is negative", *ttl)
		}
	}
	k.kubeconfig(&w.ConfigFile)
}

// described checks a file that describes the deciders.
func (k *check) described() {
	a := &k.c.Authorization
	if k.c.where[k.by[&a.Modes].path] != "" {
		k.refuse(&a.Modes, "remove one of the two", "may not be given together with %s", k.name(&a.ConfigFile))
	}
	k.unused("authorization.webhook.", nil, "has no effect with "+k.name(&a.ConfigFile), "remove it, and describe the webhook in that file")
	if readable(a.ConfigFile) != nil {
		return // that is told elsewhere
	}
	doc, err := authorizers.Check(k.c.Authorizers())
	const mend = "correct it; docs/webhooks.md has an example"
	if all, ok := errors.AsType[authorizers.Problems](err); ok {
		for _, each := range all {
			k.refuse(&a.ConfigFile, mend, "%v", each)
		}
		return
	}
	if err != nil {
		k.refuse(&a.ConfigFile, mend, "%v", err)
		return
	}
	if slices.Contains(doc.Types(), ModeAlwaysAllow) {
		k.everybody(&a.ConfigFile)
	}
}

// everybody refuses to let everybody do everything, where the setting at has
// AlwaysAllow.
func (k *check) everybody(at any) {
	switch anonymous := &k.c.Authentication.Anonymous; {
	case k.anonymous != nil && k.anonymous.Enabled:
		k.refuse(&k.c.Authentication.JWT.ConfigFile, "disable anonymous in it, or choose "+ModeRBAC,
			"its anonymous requests together with %s let everybody do everything", ModeAlwaysAllow)
	case k.anonymous == nil && *anonymous:
		k.refuse(at, "set --anonymous-auth=false, or choose "+ModeRBAC,
			"%s together with %s lets everybody do everything", ModeAlwaysAllow, k.name(anonymous))
	}
}
