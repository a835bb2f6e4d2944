// Package clientgo_test is what client-go, unmodified, asks of a Gatehouse: the
// built binary answers over the network, and nothing is replaced by a stand-in.
//
// Most tests share one server, each in namespaces of its own.
package clientgo_test

import "testing"

// TestServer runs what can share a server, at the same time.
func TestServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, test := range map[string]func(*testing.T, *world){
		"typed": testTyped, "leader": testLeader, "dynamic": testDynamic, "apply": testApply, "patch": testPatch,
		"list": testList, "tables": testTables, "selectors": testSelectors,
		"watch": testWatch, "dry run": testDryRun, "field validation": testFieldValidation, "names": testNames,
		"immutable": testImmutable, "delete": testDelete, "namespaces": testNamespaces, "pods": testPods, "csr": testCSR, "rbac": testRBAC,
		"discovery": testDiscovery, "own": testOwn, "openapi": testOpenAPI, "health": testHealth,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}
