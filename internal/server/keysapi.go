package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	kjson "sigs.k8s.io/json"

	"gatehouse.dev/gatehouse/internal/api/answer"
	"gatehouse.dev/gatehouse/internal/jose"
	"gatehouse.dev/gatehouse/internal/rotation"
)

// KeysPath is where the signing keys are listed, and below it they are rotated
// and retired by POST. Each path is a permission of its own.
const KeysPath = "/gatehouse/keys"

// maxKeysBody bounds what a request about keys may be, in bytes.
const maxKeysBody = 4 << 10

// SigningKeys are keys of service account tokens, in the order in which they
// came.
type SigningKeys struct {
	Keys []SigningKey `json:"keys"`
}

// A SigningKey is what may be told of a key: all but its private half.
type SigningKey struct {
	ID        string         `json:"id"`
	Algorithm string         `json:"algorithm"`
	State     rotation.State `json:"state"`
	// Source is where the private half is, or was: store, file, or signer.
	Source string `json:"source"`
	// Created is when it was published, Signs since when it signs or from when it
	// will, Stopped when it ceased to. Ends is when the last token that it signed
	// has expired, and Ended when it was retired or withdrawn.
	Created *time.Time `json:"created,omitempty"`
	Signs   *time.Time `json:"signs,omitempty"`
	Stopped *time.Time `json:"stopped,omitempty"`
	Ends    *time.Time `json:"ends,omitempty"`
	Ended   *time.Time `json:"ended,omitempty"`
	// Longest is the longest life of a token that it may have signed. Endless says
	// that there are, or were, tokens in Secrets, and Unknown that nobody wrote
	// down what it signed at first.
	Longest string `json:"longest,omitempty"`
	Endless bool   `json:"endless,omitempty"`
	Unknown bool   `json:"unknown,omitempty"`
}

// A KeyRotation asks for another key to sign.
type KeyRotation struct {
	// Wait is for how long the key is published before it signs, at least for as
	// long as was promised to those who keep a copy of the key set.
	Wait string `json:"wait,omitempty"`
}

// A KeyRetirement asks for a key to end.
type KeyRetirement struct {
	// ID is the ID of the key, or its first six characters or more.
	ID string `json:"id"`
	// Now withdraws it: its tokens are refused from now on, good or not.
	Now bool `json:"now,omitempty"`
}

// handleKeys adds the paths of the signing keys.
func (s *Server) handleKeys(e *endpoints) []string {
	e.handle("GET "+KeysPath, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.answerKeys(w, r, s.signing.list(), nil) }))
	e.handle("POST "+KeysPath+"/rotate", keysHandler(s, s.rotateKeys))
	e.handle("POST "+KeysPath+"/retire", keysHandler(s, s.retireKey))
	return []string{KeysPath} // the others cannot be read
}

// keysHandler reads what is asked, and answers with the key that was changed.
func keysHandler[T any](s *Server, do func(context.Context, *T) (rotation.Key, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := new(T)
		if err := readStrictly(http.MaxBytesReader(w, r.Body, maxKeysBody), asked); err != nil {
			s.answerKeys(w, r, nil, apierrors.NewBadRequest("the body is not what is asked here: "+err.Error()))
			return
		}
		key, err := do(r.Context(), asked)
		s.answerKeys(w, r, []SigningKey{describeKey(&key)}, err)
	})
}

// readStrictly reads one JSON value, in which no field is unknown, is there twice
// or is written in another case.
func readStrictly(body io.Reader, into any) error {
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	strict, err := kjson.UnmarshalStrict(text, into)
	return errors.Join(append(strict, err)...)
}

// wait returns what was asked for, or zero.
func (r *KeyRotation) wait() (time.Duration, error) {
	if r.Wait == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(r.Wait)
	switch {
	case err != nil || wait < 0:
		return 0, errors.New("wait is no duration such as 2h")
	case wait > rotation.MaxWait:
		return 0, fmt.Errorf("wait is %v, and until then no other rotation could begin: choose %v at most", wait, rotation.MaxWait)
	}
	return wait, nil
}

func (s *Server) rotateKeys(ctx context.Context, asked *KeyRotation) (rotation.Key, error) {
	wait, err := asked.wait()
	if err != nil {
		return rotation.Key{}, apierrors.NewBadRequest(err.Error())
	}
	if err := s.signing.fixed(); err != nil {
		return rotation.Key{}, err
	}
	return s.signing.keeper.Rotate(ctx, wait)
}

func (s *Server) retireKey(ctx context.Context, asked *KeyRetirement) (rotation.Key, error) {
	if err := s.signing.fixed(); err != nil {
		return rotation.Key{}, err
	}
	if asked.Now {
		key, err := s.signing.keeper.Withdraw(ctx, asked.ID)
		if err == nil || errors.Is(err, rotation.ErrEnded) {
			// A store from before must not bring the key back unseen, nor one from before
			// a withdrawal that could not be counted when it was made.
			err = errors.Join(s.epoch.Advance(ctx, true), err)
		}
		return key, err
	}
	return s.signing.keeper.Retire(ctx, asked.ID)
}

// fixed returns why the keys cannot be changed by request.
func (k *tokenKeys) fixed() error {
	switch {
	case k.external != nil:
		return errSignersKeys
	case k.keeper == nil:
		return errPlainKeys
	}
	return nil
}

var errSignersKeys = errors.New("the keys are those of the program at --service-account-signing-endpoint: change them there")

var errPlainKeys = errors.New("Secrets are stored in plain text, and a signing key beside them would be too: encrypt them, or change service-account.key by hand")

// answerKeys answers with keys, or with what is wrong.
func (s *Server) answerKeys(w http.ResponseWriter, r *http.Request, keys []SigningKey, err error) {
	if err != nil {
		responsewriters.ErrorNegotiated(keysStatus(err), s.api.Codecs(), schema.GroupVersion{Version: "v1"}, w, r)
		return
	}
	answer.Write(w, http.StatusOK, SigningKeys{keys})
}

// keysStatus says in the API's words why keys were not changed.
func keysStatus(err error) error {
	status := metav1.Status{Status: metav1.StatusFailure, Message: err.Error()}
	switch {
	case errors.Is(err, rotation.ErrUnknown):
		status.Code, status.Reason = http.StatusNotFound, metav1.StatusReasonNotFound
	case errors.Is(err, rotation.ErrUnderWay), errors.Is(err, rotation.ErrInUse), errors.Is(err, rotation.ErrEnded),
		errors.Is(err, rotation.ErrFiles), errors.Is(err, errPlainKeys), errors.Is(err, errSignersKeys):
		status.Code, status.Reason = http.StatusConflict, metav1.StatusReasonConflict
	default:
		return err
	}
	return &apierrors.StatusError{ErrStatus: status}
}

// list tells of the keys in the store and of those in files.
func (k *tokenKeys) list() []SigningKey {
	all := []SigningKey{}
	if k.external != nil {
		for _, key := range k.external.Keys().All {
			// A key that cannot sign any more is hidden; which one does is not told.
			d := SigningKey{ID: key.ID, State: rotation.Verifying, Source: "signer"}
			d.Algorithm, _ = jose.Algorithm(key.Public)
			all = append(all, d)
		}
		return all
	}
	known := map[string]bool{}
	if k.keeper != nil {
		for _, key := range k.keeper.Set().Keys {
			all = append(all, describeKey(&key))
			known[key.ID] = true
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.files == nil {
		return all
	}
	for i, key := range k.files.Keys() {
		if known[key.ID] {
			continue
		}
		state := rotation.Verifying
		if i == 0 && k.files.Signs() && !k.managed {
			state = rotation.Signing
		}
		all = append(all, SigningKey{ID: key.ID, Algorithm: key.Algorithm, State: state, Source: "file"})
	}
	return all
}

// describeKey tells of a key in the store.
func describeKey(k *rotation.Key) SigningKey {
	d := SigningKey{
		ID: k.ID, Algorithm: k.Algorithm, State: k.State, Source: "store",
		Created: timeOf(k.Created), Signs: timeOf(k.Signs), Stopped: timeOf(k.Stopped), Ended: timeOf(k.Ended),
		Endless: k.Endless, Unknown: k.Unknown,
	}
	if k.File {
		d.Source = "file"
	}
	if k.Longest > 0 {
		d.Longest = (time.Duration(k.Longest) * time.Second).String()
	}
	if k.State == rotation.Verifying && !k.Unknown {
		d.Ends = timeOf(k.Ends())
	}
	return d
}

func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
