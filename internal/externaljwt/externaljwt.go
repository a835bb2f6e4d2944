// Package externaljwt has tokens of service accounts signed by another program,
// which speaks gRPC over a Unix socket: Kubernetes' external signer (KEP-740,
// k8s.io/externaljwt). The private key is never here.
//
// The one idea: what the signer answers is judged as if a stranger had sent it. A
// header may say which algorithm and key, and nothing else; a key that the signer
// keeps out of the published set may not sign. The keys that verify are fetched
// as often as the signer says, and the last good ones stay in force while it is
// away.
//
// It refuses everything that kube-apiserver refuses of a signer
// (pkg/serviceaccount/externaljwt/plugin), and RSA keys below 2048 bits. Unlike
// there, tokens with unknown keys have the signer asked once a second at most,
// however many they are.
package externaljwt

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	v1 "k8s.io/externaljwt/apis/v1"
	kjson "sigs.k8s.io/json"

	"gatehouse.dev/gatehouse/internal/compact"
	"gatehouse.dev/gatehouse/internal/flight"
	"gatehouse.dev/gatehouse/internal/jose"
)

const (
	// syncLimit is how long the signer may take to tell its keys, and retry is
	// after how long it is asked again if it could not.
	syncLimit = time.Minute
	retry     = 10 * time.Second
	// apart is how far requests for keys are apart that unknown keys cause.
	apart = time.Second
	// maxKeyID is how long an ID may be, in bytes.
	maxKeyID = 1024
	// minLifetime is the least, in seconds, that a signer has to sign for.
	minLifetime = 600
)

// A Key verifies what the signer has signed.
type Key struct {
	ID     string
	Public crypto.PublicKey
	// Hidden keys verify and are not published. They may not sign.
	Hidden bool

	verifies *compact.Key
}

// Keys are those of the signer at one time.
type Keys struct {
	All []Key
	// Data is of when they are, as the signer says, and Next when they are to be
	// fetched again.
	Data, Next time.Time
}

// A Watcher counts what the signer was asked. The code is gRPC's.
type Watcher interface {
	Called(method, code string, took time.Duration)
	Fetched(err error, data time.Time)
	Signed(err error)
}

// A Signer is another program that signs. Make one with [Dial].
type Signer struct {
	conn    *grpc.ClientConn
	client  v1.ExternalJWTSignerClient
	watcher Watcher
	log     *slog.Logger
	take    func([]Key) error
	keys    atomic.Pointer[Keys]
	changed chan struct{} // has something in it when Next has changed
	asked   flight.Refresh
	fetches flight.Refresh
	// fetching is held while keys are fetched.
	fetching sync.Mutex
	// Longest is the longest life that it signs for.
	Longest time.Duration
}

// Dial connects to the signer at a socket, a path or, after an @, an abstract
// name, and fetches its keys, which take puts in force: at once, and whenever
// they have changed.
func Dial(ctx context.Context, socket string, take func([]Key) error, watcher Watcher, log *slog.Logger) (*Signer, error) {
	s := &Signer{watcher: watcher, log: log, take: take, changed: make(chan struct{}, 1)}
	s.asked = flight.Refresh{Work: s.fetch, Every: apart, Limit: syncLimit}
	s.fetches = flight.Refresh{Work: s.fetch, Limit: syncLimit}
	var err error
	s.conn, err = grpc.NewClient("passthrough:///"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a socket of this machine
		grpc.WithAuthority("localhost"),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithContextDialer(func(ctx context.Context, path string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}),
		grpc.WithChainUnaryInterceptor(s.count),
	)
	if err != nil {
		return nil, fmt.Errorf("connecting to the external signer at %s: %w", socket, err)
	}
	s.client = v1.NewExternalJWTSignerClient(s.conn)
	if err := s.begin(ctx); err != nil {
		_ = s.conn.Close()
		return nil, fmt.Errorf("the external signer at %s: %w", socket, err)
	}
	return s, nil
}

func (s *Signer) begin(ctx context.Context) error {
	if err := s.fetches.Do(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, syncLimit)
	defer cancel()
	meta, err := s.client.Metadata(ctx, &v1.MetadataRequest{})
	if err != nil {
		return fmt.Errorf("asking for its metadata: %w", err)
	}
	if meta.MaxTokenExpirationSeconds < minLifetime {
		return fmt.Errorf("it signs tokens of at most %d seconds; it has to sign those of %d", meta.MaxTokenExpirationSeconds, minLifetime)
	}
	const most = 1 << 32 // more is asked by nobody, and would overflow
	s.Longest = time.Duration(min(meta.MaxTokenExpirationSeconds, most)) * time.Second
	return nil
}

// Close ends the connection.
func (s *Signer) Close() { _ = s.conn.Close() }

// Keys returns the keys that are in force.
func (s *Signer) Keys() *Keys { return s.keys.Load() }

// Refresh returns when the keys are those that the signer had when it was called.
func (s *Signer) Refresh(ctx context.Context) error { return s.asked.Do(ctx) }

// Run fetches the keys as often as the signer says, until ctx is done.
func (s *Signer) Run(ctx context.Context) {
	timer := time.NewTimer(time.Until(s.Keys().Next))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
			timer.Reset(time.Until(s.Keys().Next))
		case <-timer.C:
			if err := s.fetches.Do(ctx); err != nil && ctx.Err() == nil {
				s.log.ErrorContext(ctx, "the keys of the external signer were not fetched; the last good ones stay in force", "err", err)
				timer.Reset(retry)
			}
		}
	}
}

// fetch takes over the keys that the signer has now. One fetch is under way at a
// time: of two answers the older one might come last.
func (s *Signer) fetch(ctx context.Context) error {
	s.fetching.Lock()
	defer s.fetching.Unlock()
	keys, err := s.fetchKeys(ctx)
	if err == nil {
		err = s.take(keys.All)
	}
	if err != nil {
		s.watcher.Fetched(err, time.Time{})
		return fmt.Errorf("fetching its keys: %w", err)
	}
	s.watcher.Fetched(nil, keys.Data)
	s.keys.Store(keys)
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return nil
}

func (s *Signer) fetchKeys(ctx context.Context) (*Keys, error) {
	answer, err := s.client.FetchKeys(ctx, &v1.FetchKeysRequest{})
	switch {
	case err != nil:
		return nil, err
	case answer.RefreshHintSeconds <= 0:
		return nil, fmt.Errorf("found invalid refresh hint (%ds)", answer.RefreshHintSeconds)
	case len(answer.Keys) == 0:
		return nil, errors.New("found no keys")
	}
	if err := answer.DataTimestamp.CheckValid(); err != nil {
		return nil, fmt.Errorf("invalid data timestamp: %w", err)
	}
	// A hint of centuries is as good as one of a year.
	hint := time.Duration(min(answer.RefreshHintSeconds, 365*24*3600)) * time.Second
	keys := &Keys{Data: answer.DataTimestamp.AsTime(), Next: time.Now().Add(hint)}
	seen := map[string]bool{}
	for _, k := range answer.Keys {
		key, err := readKey(k)
		if err != nil {
			return nil, err
		}
		if seen[key.ID] {
			return nil, fmt.Errorf("found two keys with the ID %q", key.ID)
		}
		seen[key.ID] = true
		keys.All = append(keys.All, key)
	}
	return keys, nil
}

func readKey(k *v1.Key) (Key, error) {
	switch {
	case k == nil:
		return Key{}, errors.New("found nil public key")
	case k.KeyId == "" || len(k.KeyId) > maxKeyID:
		return Key{}, fmt.Errorf("found invalid public key id %q", k.KeyId)
	case len(k.Key) == 0:
		return Key{}, errors.New("found empty public key")
	}
	public, err := x509.ParsePKIXPublicKey(k.Key)
	if err != nil {
		return Key{}, fmt.Errorf("while parsing external public keys: %w", err)
	}
	alg, err := jose.Algorithm(public)
	if err != nil {
		return Key{}, fmt.Errorf("key %q: %w", k.KeyId, err)
	}
	verifies, err := compact.NewKey(k.KeyId, public, alg)
	if err != nil {
		return Key{}, fmt.Errorf("key %q: %w", k.KeyId, err)
	}
	return Key{ID: k.KeyId, Public: public, Hidden: k.ExcludeFromOidcDiscovery, verifies: verifies}, nil
}

// Published returns the key set for others to verify with, and the algorithms of
// its keys, sorted.
func (s *Signer) Published() (set []byte, algorithms []string, err error) {
	var public []jose.Key
	for _, k := range s.Keys().All {
		if k.Hidden {
			continue
		}
		alg, err := jose.Algorithm(k.Public)
		if err != nil {
			return nil, nil, err
		}
		public, algorithms = append(public, jose.Key{ID: k.ID, Public: k.Public}), append(algorithms, alg)
	}
	slices.Sort(algorithms)
	set, err = jose.MarshalSet(public)
	return set, slices.Compact(algorithms), err
}

// Sign returns claims as a token that the signer has signed.
func (s *Signer) Sign(ctx context.Context, claims any) (string, error) {
	token, err := s.sign(ctx, claims)
	s.watcher.Signed(err)
	return token, err
}

func (s *Signer) sign(ctx context.Context, claims any) (string, error) {
	text, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encoding claims: %w", err)
	}
	payload := base64.RawURLEncoding.EncodeToString(text)
	answer, err := s.client.Sign(ctx, &v1.SignJWTRequest{Claims: payload})
	if err != nil {
		return "", fmt.Errorf("while signing jwt: %w", err)
	}
	key, err := s.checkHeader(ctx, answer.Header)
	if err != nil {
		return "", fmt.Errorf("while validating header: %w", err)
	}
	if answer.Signature == "" {
		return "", errors.New("empty signature returned")
	}
	token := answer.Header + "." + payload + "." + answer.Signature
	// A signature that nobody could verify is found out here and not elsewhere.
	read, _, err := compact.Read(ctx, token)
	if err == nil {
		err = read.Verify(key.verifies)
	}
	if err != nil {
		return "", fmt.Errorf("while verifying what the signer returned: %w", err)
	}
	return token, nil
}

// checkHeader wants a header that says who has signed, and nothing else, and
// returns the key.
func (s *Signer) checkHeader(ctx context.Context, text string) (*Key, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("while unwrapping header: it is not URL-safe base64")
	}
	header, err := parseHeader(raw)
	if err != nil {
		return nil, fmt.Errorf("while parsing header JSON: %w", err)
	}
	switch {
	case header.Type != "JWT":
		return nil, errors.New("bad type")
	case header.KeyID == "":
		return nil, errors.New("key id missing")
	case len(header.KeyID) > maxKeyID:
		return nil, errors.New("key id longer than 1 kb")
	}
	switch header.Algorithm {
	case "RS256", "ES256", "ES384", "ES512":
	default:
		return nil, fmt.Errorf("bad signing algorithm %q", header.Algorithm)
	}
	return s.checkKey(ctx, header.KeyID, header.Algorithm)
}

// A header is that of a token, with what is allowed to be in it.
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// parseHeader reads a header that says one thing to every reader.
func parseHeader(text []byte) (header, error) {
	var h header
	strict, err := kjson.UnmarshalStrict(text, &h)
	return h, errors.Join(append(strict, err)...)
}

// checkKey wants a key that others can verify with.
func (s *Signer) checkKey(ctx context.Context, id, algorithm string) (*Key, error) {
	key := s.find(id)
	if key == nil {
		if err := s.Refresh(ctx); err != nil {
			return nil, err
		}
		if key = s.find(id); key == nil {
			return nil, fmt.Errorf("key used for signing JWT (kid: %s) is not among the keys of the signer", id)
		}
	}
	if key.Hidden {
		return nil, fmt.Errorf("key used for signing JWT (kid: %s) is excluded from OIDC discovery docs", id)
	}
	if alg, err := jose.Algorithm(key.Public); err != nil || alg != algorithm {
		return nil, fmt.Errorf("key used for signing JWT (kid: %s) does not sign with %s", id, algorithm)
	}
	return key, nil
}

func (s *Signer) find(id string) *Key {
	keys := s.Keys().All
	for i := range keys {
		if keys[i].ID == id {
			return &keys[i]
		}
	}
	return nil
}

// count tells the watcher of each call.
func (s *Signer) count(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	began := time.Now()
	err := invoke(ctx, method, req, reply, conn, opts...)
	s.watcher.Called(method, Code(err), time.Since(began))
	return err
}
