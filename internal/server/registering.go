package server

import (
	"context"
	"errors"
	"os/user"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/api"
	"gatehouse.dev/gatehouse/internal/controller"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/issuing"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/register"
)

const (
	// registerPrefix is where the register is kept, beside the objects.
	registerPrefix = "/gatehouse/register/"
	// recordTimeout is how long a credential that no request asks for waits to be
	// recorded, and countEvery how often the entries are counted.
	recordTimeout = 15 * time.Second
	countEvery    = time.Minute
	// ownerMethod is how somebody is known who has the data directory.
	ownerMethod = identity.Method("DataDirectory")
)

// openRegister opens the register of what is issued. The counters come before
// what they count.
func (s *Server) openRegister() {
	s.ledger = ledger.New(s.client, registerPrefix)
	counters := s.metrics.Issued(func() int64 { return s.register.Entries() })
	s.register = register.New(s.ledger, counters, s.log)
	s.serials = ledger.New(s.client, registerPrefix+"serials/")
	s.register.Serials = s.serials
	s.keys = ledger.New(s.client, registerPrefix+"keys/")
	s.uses = register.NewUses(s.ledger, counters, s.log)
}

// keepRegister writes down what is used and what was issued while no server ran,
// and counts, until ctx is done.
func (s *Server) keepRegister(ctx context.Context) {
	go s.countRegister(ctx)
	go s.followSpool(ctx)
	s.uses.Run(ctx)
}

func (s *Server) countRegister(ctx context.Context) {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		if err := s.register.Count(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "the number of registered credentials is that of before", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// registerKeeper removes the entries of what has ended.
func (s *Server) registerKeeper() controller.Named {
	return controller.Named{Name: "register", Run: (&register.Keeper{Store: s.ledger, Serials: s.serials, Keys: s.keys, Stands: s.stands, Log: s.log}).Run}
}

// stands reports whether the account that a token is for, and what it is bound
// to, are there, so that it may be good. What is no token stands until it ends.
func (s *Server) stands(ctx context.Context, e *register.Entry) (bool, error) {
	namespace, name, ok := e.Account()
	if !ok {
		return true, nil
	}
	there, err := found(ctx, s.objects.informers.accounts, s.objects.accounts, register.Reference{Namespace: namespace, Name: name, UID: e.UID})
	if !there || err != nil || e.Bound == nil {
		return there, err
	}
	switch e.Bound.Kind {
	case "Pod":
		return found(ctx, s.objects.informers.pods, s.objects.pods, *e.Bound)
	case "Node":
		return found(ctx, s.objects.informers.nodes, s.objects.nodes, *e.Bound)
	case "Secret":
		if e.Method == identity.LegacyServiceAccount {
			return s.stillHeld(ctx, e)
		}
		return found(ctx, s.objects.informers.secrets, s.objects.secrets, *e.Bound)
	}
	return true, nil
}

// found reports whether an object is there, of the UID that it had. Only what is
// not in the cache is looked for.
func found[T api.Object](ctx context.Context, informer cache.SharedIndexInformer, live api.Objects[T], ref register.Reference) (bool, error) {
	if obj, ok := controller.Cached[T](informer, ref.Namespace, ref.Name); ok && string(obj.GetUID()) == ref.UID {
		return true, nil
	}
	obj, err := live.Get(ctx, ref.Namespace, ref.Name)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return string(obj.GetUID()) == ref.UID, nil
}

// stillHeld reports whether the Secret of a token without an end still holds it.
func (s *Server) stillHeld(ctx context.Context, e *register.Entry) (bool, error) {
	holder, err := s.objects.secrets.Get(ctx, e.Bound.Namespace, e.Bound.Name)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	token := string(holder.Data[corev1.ServiceAccountTokenKey])
	return string(holder.UID) == e.Bound.UID && digestOf(token) == e.Digest, nil
}

// digestOf returns the digest of what the signature of a token covers: of all
// before its last point.
func digestOf(token string) string {
	return register.Digest([]byte(token[:max(strings.LastIndexByte(token, '.'), 0)]))
}

// recordToken writes down a token that is about to be signed, and who asked for
// it.
func (s *Server) recordToken(ctx context.Context, token *issuing.Recorded) error {
	e := &register.Entry{
		Method: identity.ServiceAccount, Issuer: token.Issuer, ID: "JTI=" + token.JTI,
		User: token.User, UID: token.UID, Asker: askerFrom(ctx),
		Audiences: token.Audiences, Issued: token.Issued, Expires: token.Expires,
	}
	if b := token.Bound; b != nil {
		e.Bound = &register.Reference{Kind: b.Kind, Namespace: b.Namespace, Name: b.Name, UID: b.UID}
	}
	return unrecorded(s.register.Record(ctx, e))
}

// unrecorded returns a status error for why something is not issued.
func unrecorded(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, register.ErrFull):
		return apierrors.NewServiceUnavailable("no credential is issued: " + err.Error())
	default:
		return apierrors.NewServiceUnavailable("no credential is issued, because it could not be written into the register of credentials first: try again")
	}
}

// askerFrom returns who sent the request of a context.
func askerFrom(ctx context.Context) register.Asker {
	info, _ := genericapirequest.UserFrom(ctx)
	who, _ := info.(*identity.Identity)
	address := ""
	if peer := authn.PeerFrom(ctx); peer.IsValid() {
		address = peer.String()
	}
	return register.AskerOf(who, address)
}

// itself is who asks for what the server issues without being asked.
func itself() register.Asker { return register.Asker{User: "gatehouse", Method: identity.Internal} }

// legacyToken returns the token of a Secret, for the controller that fills it. It
// is recorded before the Secret can hold it.
func (s *Server) legacyToken(ctx context.Context, account *corev1.ServiceAccount, holder *corev1.Secret) (string, error) {
	token, err := issuing.LegacyToken(ctx, s.signing, account, holder)
	if err != nil {
		return "", err
	}
	text := string(token.Reveal())
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	err = s.register.Record(ctx, &register.Entry{
		Method: identity.LegacyServiceAccount, Issuer: issuing.LegacyIssuer, Digest: digestOf(text),
		User: identity.ServiceAccountPrefix + account.Namespace + ":" + account.Name, UID: string(account.UID),
		Asker: itself(), Issued: time.Now(),
		Bound: &register.Reference{Kind: "Secret", Namespace: holder.Namespace, Name: holder.Name, UID: string(holder.UID)},
	})
	if err != nil {
		return "", err
	}
	return text, nil
}

// recordCertificate writes down a certificate of the server's own authority that
// the server issues for its operator. A store that is full must not lock him out,
// who is to make room in it: then the entry waits in the data directory.
func (s *Server) recordCertificate(cert *pki.ClientCertificate) error {
	ctx, cancel := context.WithTimeout(s.draining, recordTimeout)
	defer cancel()
	e := register.OfCertificate(cert.Certificate, s.material.authority.Certificate(), time.Now())
	e.Asker = itself()
	err := s.register.Record(ctx, e)
	if err == nil || s.directory == nil {
		return err
	}
	s.log.WarnContext(ctx, "the administrator's certificate is not in the register yet; its entry is in the data directory", "err", err)
	return spool(s.directory.Path, s.material.authority, cert, itself())
}

// ofOwner says that the owner of the data directory asks.
func ofOwner(owner *user.User) register.Asker {
	return register.Asker{User: owner.Username, UID: owner.Uid, Method: ownerMethod}
}

// reviewed notes the use of the tokens that are asked about in reviews.
type reviewed struct {
	authn.TokenVerifier
	uses *register.Uses
}

func (v reviewed) VerifyToken(ctx context.Context, token string, audiences []string) (*authn.Result, error) {
	res, err := v.TokenVerifier.VerifyToken(ctx, token, audiences)
	if err == nil && res.Identity != nil {
		if hour := register.HourOf(time.Now()); res.FirstUse(hour) {
			v.uses.Used(&res.Identity.Credential, hour)
		}
	}
	return res, err
}

// registeredAs returns the name of a credential's entry, or "".
func (s *Server) registeredAs(ctx context.Context, c *identity.Credential) string {
	name := register.NameOf(c)
	if name == "" {
		return ""
	}
	e, err := s.register.Find(ctx, name)
	if err != nil || e == nil {
		return ""
	}
	return name
}
