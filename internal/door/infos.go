package door

import (
	"fmt"
	"hash/maphash"
	"net/http"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/util/sets"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
)

const (
	// rememberedInfos is how many different URLs have their meaning
	// remembered, at less than a kilobyte each. Clients that watch and renew
	// leases, and the reviews, ask for the same few again and again.
	rememberedInfos = 1 << 10
	// longestRemembered bounds what one of them may take, in bytes of the URL.
	longestRemembered = 512
)

// infos reads from a URL what it asks for. It is the library that reads: own
// parsers of these paths are a classic way around authorization. But it reads
// each URL once: what it says depends on the method, the path and the query,
// and on nothing else. A remembered answer is used if all three are the same,
// byte for byte. It must not be changed.
type infos struct {
	resolver genericapirequest.RequestInfoResolver
	seed     maphash.Seed
	// places each hold the last URL of its hash. Whoever sends many URLs only
	// makes others be read again.
	places [rememberedInfos]atomic.Pointer[remembered]
}

type remembered struct {
	method, path, query string
	info                *genericapirequest.RequestInfo
}

func newInfos() *infos {
	return &infos{seed: maphash.MakeSeed(), resolver: newResolver()}
}

func newResolver() genericapirequest.RequestInfoResolver {
	return &genericapirequest.RequestInfoFactory{
		APIPrefixes:          sets.NewString("api", "apis"),
		GrouplessAPIPrefixes: sets.NewString("api"),
	}
}

// of returns what r asks for, or an error in upstream's words.
func (c *infos) of(r *http.Request) (*genericapirequest.RequestInfo, error) {
	method, path, query := r.Method, r.URL.Path, r.URL.RawQuery
	place := c.place(method, path, query)
	if m := place.Load(); m != nil && m.path == path && m.query == query && m.method == method {
		return m.info, nil
	}
	info, err := c.resolver.NewRequestInfo(r)
	if err != nil {
		return nil, fmt.Errorf("failed to create RequestInfo: %v", err)
	}
	if len(method)+len(path)+len(query) <= longestRemembered {
		place.Store(&remembered{method, path, query, info})
	}
	return info, nil
}

func (c *infos) place(method, path, query string) *atomic.Pointer[remembered] {
	var h maphash.Hash
	h.SetSeed(c.seed)
	h.WriteString(method)
	h.WriteByte(0)
	h.WriteString(path)
	h.WriteByte(0)
	h.WriteString(query)
	return &c.places[h.Sum64()%rememberedInfos]
}
