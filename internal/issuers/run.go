package issuers

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/jwt"
	"gatehouse.dev/gatehouse/internal/jose"
	"gatehouse.dev/gatehouse/internal/keyset"
	"gatehouse.dev/gatehouse/internal/outcall"
)

const (
	// proveTimeout is how long new issuers have to show their keys before a
	// changed configuration is refused, and proveAgain after how long it is
	// tried again (kube-apiserver's options/authentication.go).
	proveTimeout = time.Minute
	proveAgain   = time.Minute
)

// A source is one issuer that is asked for its keys.
type source struct {
	set    *keyset.Set
	keys   *jwt.Keys
	client *keyset.Client
	gates  map[string]*outcall.Gate // by the origins that claims may come from
	stop   context.CancelFunc       // nil before it runs
}

// prepare returns the sources of a configuration: those that are there already,
// and new ones, which do not run yet.
func (l *Live) prepare(doc *Document) (map[string]*source, error) {
	sources := map[string]*source{}
	for _, i := range doc.issuers {
		id := i.sourceID()
		if old := l.sources[id]; old != nil {
			sources[id] = old
			continue
		}
		var roots *x509.CertPool
		if ca := i.spec.Issuer.CertificateAuthority; ca != "" {
			roots = x509.NewCertPool()
			if !roots.AppendCertsFromPEM([]byte(ca)) {
				return nil, fmt.Errorf("issuer %q: its certificate authority holds no certificate", i.spec.Issuer.URL)
			}
		}
		sources[id] = l.newSource(i.spec.Issuer.URL, i.spec.Issuer.DiscoveryURL, l.client(roots))
	}
	return sources, nil
}

func (l *Live) newSource(issuer, discoveryURL string, client *keyset.Client) *source {
	s := &source{keys: new(jwt.Keys), client: client, gates: l.gates(issuer)}
	down := false
	s.set = keyset.New(keyset.Config{
		Issuer: issuer, DiscoveryURL: discoveryURL, Client: client, MaxAge: l.cfg.MaxKeyAge, Peer: authn.PeerFrom,
		Use: func(text []byte) error { return l.use(s.keys, issuer, text) },
		Fetched: func(set []byte, err error) {
			l.metrics.KeysFetched(issuer, set, err)
			if err != nil && !down {
				l.log.Error("the keys of an issuer cannot be fetched", "issuer", issuer, "err", err)
			} else if err == nil && down {
				l.log.Info("the keys of an issuer can be fetched again", "issuer", issuer)
			}
			down = err != nil
		},
	})
	return s
}

// keys are those of an issuer, for tokens.
type keys struct{ *keyset.Set }

// Renew implements [jwt.Source].
func (k keys) Renew(ctx context.Context, found func() bool) error {
	err := k.Set.Renew(ctx, found)
	if errors.Is(err, keyset.ErrCrowded) {
		return throttled(err)
	}
	return err
}

// throttled is err as the reason of a token that was not looked at to the end,
// because of others.
func throttled(err error) error {
	return authn.Explained(err, authn.Throttled, func() authn.Facts {
		return authn.Facts{Mend: "send it again; if it stays so, find out who sends so many tokens of this issuer, which the records of refused requests tell"}
	})
}

// use puts a key set into force.
func (l *Live) use(keys *jwt.Keys, issuer string, text []byte) error {
	published, passed, err := jose.ParseSet(text)
	if err != nil {
		return err
	}
	next := make([]jwt.Key, len(published))
	for i, k := range published {
		next[i] = jwt.Key{ID: k.ID, Algorithm: k.Algorithm, Public: k.Public}
	}
	unfit, err := keys.Replace(next...)
	for _, why := range append(passed, unfit...) {
		l.log.Warn("an issuer publishes a key that is of no use", "issuer", issuer, "why", why)
	}
	if err != nil {
		return err
	}
	l.log.Info("the keys of an issuer are in force", "issuer", issuer, "keys", len(next)-len(unfit))
	return nil
}

// assemble returns what the verifier has to know.
func (l *Live) assemble(doc *Document, sources map[string]*source) []jwt.Issuer {
	algorithms := l.cfg.Algorithms
	if l.cfg.Flags != nil {
		algorithms = l.cfg.Flags.SigningAlgs
	}
	out := make([]jwt.Issuer, 0, len(doc.issuers))
	for _, i := range doc.issuers {
		s, spec := sources[i.sourceID()], i.spec
		one := jwt.Issuer{
			URL: spec.Issuer.URL, Audiences: spec.Issuer.Audiences, Algorithms: algorithms,
			Keys: s.keys, Source: keys{s.set}, Identify: i.identify,
			Distributed: spec.ClaimMappings.Groups.Claim,
			Fetch:       l.fetcher(s),
			Verified:    l.metrics.Verified(spec.Issuer.URL),
		}
		for _, entry := range l.cfg.Reserved {
			if issuer, name, _ := strings.Cut(entry, " "); issuer == one.URL {
				one.Reserved = append(one.Reserved, name)
			}
		}
		out = append(out, one)
	}
	return out
}

// Run keeps the keys fresh and follows the file until ctx ends.
func (l *Live) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	l.startAll(ctx, &work, l.sources)
	l.configured(l.applied, false)
	if l.file == nil {
		<-ctx.Done()
		return
	}
	work.Go(func() { l.file.Run(ctx) })
	tick := time.NewTicker(proveAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.changed:
		case <-tick.C:
		}
		l.apply(ctx, &work)
	}
}

// startAll runs the sources that do not run yet.
func (l *Live) startAll(ctx context.Context, work *sync.WaitGroup, sources map[string]*source) (started []*source) {
	for _, s := range sources {
		if s.stop != nil {
			continue
		}
		var running context.Context
		running, s.stop = context.WithCancel(ctx)
		started = append(started, s)
		work.Go(func() { s.set.Run(running) })
	}
	return started
}

// apply puts what the file says in force, if that is not what is.
func (l *Live) apply(ctx context.Context, work *sync.WaitGroup) {
	doc := l.file.Value()
	if doc.digest == l.applied.digest {
		l.effect.Report(nil)
		return
	}
	err := l.replace(ctx, work, doc)
	if ctx.Err() != nil {
		return
	}
	l.effect.Report(err)
	if err != nil {
		l.refused()
		l.log.Error("authentication configuration has not taken effect; the last one stays in force", "err", err)
		return
	}
	l.configured(doc, true)
	l.log.Info("authentication configuration reloaded", "issuers", len(doc.issuers))
}

// replace puts doc in force once all of its issuers have keys.
func (l *Live) replace(ctx context.Context, work *sync.WaitGroup, doc *Document) error {
	sources, err := l.prepare(doc)
	if err != nil {
		return err
	}
	started := l.startAll(ctx, work, sources)
	if err = prove(ctx, started); err == nil {
		err = l.verifier.Replace(l.assemble(doc, sources)...)
	}
	if err != nil {
		for _, s := range started {
			s.stop()
		}
		return err
	}
	known := map[string]bool{}
	for _, i := range doc.issuers {
		known[i.spec.Issuer.URL] = true
	}
	for _, i := range l.applied.issuers {
		if !known[i.spec.Issuer.URL] {
			l.metrics.Gone(i.spec.Issuer.URL)
		}
		if id := i.sourceID(); sources[id] == nil {
			l.sources[id].stop()
		}
	}
	l.applied, l.sources = doc, sources
	return nil
}

// prove waits until all sources have keys, but not for ever.
func prove(ctx context.Context, sources []*source) error {
	ctx, cancel := context.WithTimeout(ctx, proveTimeout)
	defer cancel()
	var errs []error
	for _, s := range sources {
		select {
		case <-s.set.Ready():
		case <-ctx.Done():
			if _, err := s.set.Until(); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
