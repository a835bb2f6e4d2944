// Package gatehouse is the Kubernetes front door on its own: who is calling,
// whether they may, what they did, and the credentials they do it with.
//
// There is no code here. The binary is cmd/gatehouse; README.md says how to
// start it and ARCHITECTURE.md how it is built. The tests beside this file hold
// the rules that ARCHITECTURE.md states.
package gatehouse
