package authorizers

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/load"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authorization/cel"

	"gatehouse.dev/gatehouse/internal/outcall"
	"gatehouse.dev/gatehouse/internal/reload"
)

// The types of authorizers that this server has.
const (
	Node        = "Node"
	RBAC        = "RBAC"
	Webhook     = "Webhook"
	AlwaysAllow = "AlwaysAllow"
	AlwaysDeny  = "AlwaysDeny"
)

// Types returns all of them.
func Types() []string { return []string{Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny} }

// maxFile is the largest configuration, in bytes, that is read.
const maxFile = 1 << 20

// A Document is a configuration that was read, checked and compiled.
type Document struct {
	entries []entry
	text    []byte
}

// An entry is one authorizer.
type entry struct {
	kind, name string
	// What follows is of a webhook.
	spec    apiserver.WebhookConfiguration
	matcher *cel.CELMatcher // nil without conditions
	target  *outcall.Target
}

// Types returns the types of the authorizers, in their order.
func (d *Document) Types() []string {
	var types []string
	for _, e := range d.entries {
		types = append(types, e.kind)
	}
	return types
}

// Problems are everything that is wrong with a configuration, each with its
// path.
type Problems []error

func (p Problems) Error() string { return errors.Join(p...).Error() }

// Unwrap returns the single problems.
func (p Problems) Unwrap() []error { return p }

// Parse reads an AuthorizationConfiguration (apiserver.config.k8s.io v1, v1beta1
// or v1alpha1) as kube-apiserver does: strictly, and with its own validation.
// Read reads the kubeconfigs that it names, and what those name. Where the text
// is good but says something wrong, the error is of type [Problems].
func Parse(text []byte, read reload.Reader) (*Document, error) {
	if len(text) > maxFile {
		return nil, errors.New("the configuration is longer than 1 MiB")
	}
	if len(text) == 0 {
		return nil, errors.New("the configuration is empty")
	}
	spec, err := load.LoadFromData(text)
	if err != nil {
		return nil, err
	}
	compiler := cel.NewDefaultCompiler()
	var problems Problems
	for _, p := range validation.ValidateAuthorizationConfiguration(compiler, nil, spec, sets.New(Types()...), sets.New(Webhook)) {
		problems = append(problems, p)
	}
	for n, a := range spec.Authorizers {
		if own := strings.ToLower(string(a.Type)); slices.Contains(Types(), string(a.Type)) && a.Type != apiserver.TypeWebhook && a.Name != "" && a.Name != own {
			problems = append(problems, field.Invalid(at(n).Child("name"), a.Name, "the name of an authorizer of type "+string(a.Type)+" is "+own))
		}
		if a.Webhook != nil && a.Webhook.ConnectionInfo.Type == apiserver.AuthorizationWebhookConnectionInfoTypeInCluster {
			problems = append(problems, field.Invalid(at(n).Child("connectionInfo", "type"), a.Webhook.ConnectionInfo.Type,
				"this server runs in no cluster: name a kubeconfig with KubeConfigFile"))
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	doc := &Document{text: text}
	for n, a := range spec.Authorizers {
		e := entry{kind: string(a.Type), name: a.Name}
		if a.Webhook != nil {
			if err := e.webhook(*a.Webhook, compiler, read); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", at(n).Child("connectionInfo", "kubeConfigFile"), err))
			}
		}
		doc.entries = append(doc.entries, e)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return doc, nil
}

func at(n int) *field.Path { return field.NewPath("authorizers").Index(n) }

// webhook fills in what is particular to a webhook. The specification is valid.
func (e *entry) webhook(spec apiserver.WebhookConfiguration, compiler cel.Compiler, read reload.Reader) (err error) {
	e.spec = spec
	// They were compiled before, to be checked, and that was not kept.
	matcher, problems := validation.ValidateAndCompileMatchConditions(compiler, spec.MatchConditions)
	if err := problems.ToAggregate(); err != nil {
		return err
	}
	if e.matcher = matcher; matcher != nil {
		matcher.AuthorizerType, matcher.AuthorizerName = Webhook, e.name
	}
	e.target, err = target(*spec.ConnectionInfo.KubeConfigFile, read)
	return err
}

// target reads a kubeconfig.
func target(path string, read reload.Reader) (*outcall.Target, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	t, err := outcall.ReadTarget(path, text, read)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Flags are the --authorization flags of kube-apiserver that say the same in
// another way, with a webhook at most.
type Flags struct {
	// Modes are the types of the authorizers, in their order.
	Modes []string
	// What follows is of the webhook, if there is one.
	KubeconfigFile string
	Version        string
	// AuthorizedTTL and UnauthorizedTTL are how long its answers are believed.
	AuthorizedTTL, UnauthorizedTTL time.Duration
}

// webhookName is what the webhook of flags is called, in kube-apiserver too.
const webhookName = "default"

// document returns what the flags say (k8s.io/kubernetes
// pkg/kubeapiserver/options/authorization.go).
func (f *Flags) document(kubeconfig []byte, read reload.Reader) (*Document, error) {
	doc := &Document{}
	for _, mode := range f.Modes {
		if !slices.Contains(Types(), mode) {
			return nil, fmt.Errorf("--authorization-mode %s is not known: choose from %s", mode, strings.Join(Types(), ", "))
		}
		e := entry{kind: mode, name: strings.ToLower(mode)}
		if mode == Webhook {
			e.name = webhookName
			e.spec = apiserver.WebhookConfiguration{
				AuthorizedTTL: metav1.Duration{Duration: f.AuthorizedTTL}, CacheAuthorizedRequests: true,
				UnauthorizedTTL: metav1.Duration{Duration: f.UnauthorizedTTL}, CacheUnauthorizedRequests: true,
				Timeout:                    metav1.Duration{Duration: outcall.Timeout},
				FailurePolicy:              apiserver.FailurePolicyNoOpinion,
				SubjectAccessReviewVersion: f.Version,
			}
			var err error
			if e.target, err = outcall.ReadTarget(f.KubeconfigFile, kubeconfig, read); err != nil {
				return nil, err
			}
		}
		doc.entries = append(doc.entries, e)
	}
	return doc, nil
}
