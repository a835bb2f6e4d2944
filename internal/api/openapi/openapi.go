// Package openapi describes the kinds that this server has, for kubectl explain
// and whoever writes a client. All of it is generated from the comments of the
// types: ours, those of Kubernetes, and those that every kind is made of.
// k8s.io/kube-aggregator publishes a description of the last, but together with a
// server of which nothing else is wanted here.
//
// The file violations.list has where types break the rules of Kubernetes' API.
package openapi

// The packages of --readonly-pkg are those that follow it but ours: without it the
// tool would write into them, wherever they are.
//
//go:generate go tool -modfile=../../../tools/go.mod openapi-gen --go-header-file=/dev/null --output-dir=. --output-pkg=gatehouse.dev/gatehouse/internal/api/openapi --output-file=zz_generated.openapi.go --output-model-name-file=zz_generated.model_name.go --readonly-pkg=k8s.io/api/authentication/v1,k8s.io/api/authorization/v1,k8s.io/api/certificates/v1,k8s.io/api/coordination/v1,k8s.io/api/core/v1,k8s.io/api/events/v1,k8s.io/api/rbac/v1,k8s.io/apimachinery/pkg/api/resource,k8s.io/apimachinery/pkg/apis/meta/v1,k8s.io/apimachinery/pkg/runtime,k8s.io/apimachinery/pkg/util/intstr,k8s.io/apimachinery/pkg/version --report-filename=violations.list gatehouse.dev/gatehouse/api/v1alpha1 k8s.io/api/authentication/v1 k8s.io/api/authorization/v1 k8s.io/api/certificates/v1 k8s.io/api/coordination/v1 k8s.io/api/core/v1 k8s.io/api/events/v1 k8s.io/api/rbac/v1 k8s.io/apimachinery/pkg/api/resource k8s.io/apimachinery/pkg/apis/meta/v1 k8s.io/apimachinery/pkg/runtime k8s.io/apimachinery/pkg/util/intstr k8s.io/apimachinery/pkg/version
