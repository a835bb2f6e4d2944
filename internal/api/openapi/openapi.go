// Package openapi describes the kinds of Kubernetes that this server has, for
// kubectl explain and whoever writes a client. All of it is generated from the
// comments of the types, among them those that every kind is made of:
// k8s.io/kube-aggregator publishes a description of these, but together with a
// server of which nothing else is wanted.
//
// Package gatehouse below it describes the kinds of our own group. Its
// violations.list has where they break the rules of Kubernetes' API.
package openapi

//go:generate go tool -modfile=../../../tools/go.mod openapi-gen --go-header-file=/dev/null --output-dir=. --output-pkg=gatehouse.dev/gatehouse/internal/api/openapi --output-file=zz_generated.openapi.go --report-filename=/dev/null k8s.io/api/authentication/v1 k8s.io/api/authorization/v1 k8s.io/api/certificates/v1 k8s.io/api/coordination/v1 k8s.io/api/core/v1 k8s.io/api/events/v1 k8s.io/api/rbac/v1 k8s.io/apimachinery/pkg/api/resource k8s.io/apimachinery/pkg/apis/meta/v1 k8s.io/apimachinery/pkg/runtime k8s.io/apimachinery/pkg/util/intstr k8s.io/apimachinery/pkg/version
//go:generate go tool -modfile=../../../tools/go.mod openapi-gen --go-header-file=/dev/null --output-dir=gatehouse --output-pkg=gatehouse.dev/gatehouse/internal/api/openapi/gatehouse --output-file=zz_generated.openapi.go --report-filename=gatehouse/violations.list --output-model-name-file=zz_generated.model_name.go gatehouse.dev/gatehouse/api/v1alpha1
