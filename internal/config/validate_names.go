package config

import (
	"net"
	"strconv"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
)

// externalHostname refuses what is no host, and one that nobody is told of.
func (k *check) externalHostname() {
	name := &k.c.Serving.ExternalHostname
	if *name == "" {
		return
	}
	host, port := *name, "1"
	if h, p, err := net.SplitHostPort(*name); err == nil {
		host, port = h, p
	}
	number, err := strconv.ParseUint(port, 10, 16)
	known := net.ParseIP(host) != nil || len(utilvalidation.IsDNS1123Subdomain(host)) == 0
	if err != nil || number == 0 || !known {
		k.refuse(name, "write it as api.example.org, 192.0.2.1, or either with a port such as api.example.org:443", "%q is no host", *name)
	}
	if k.c.Serving.TLSCertFile != "" && !k.c.Authentication.BootstrapTokens {
		k.refuse(name, "remove it", "has no effect: the certificate is in %s, and without %s there is no cluster-info",
			k.name(&k.c.Serving.TLSCertFile), k.name(&k.c.Authentication.BootstrapTokens))
	}
}
