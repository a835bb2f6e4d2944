package audit_test

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	kubeaudit "k8s.io/apiserver/pkg/audit"

	"gatehouse.dev/gatehouse/internal/audit"
)

// checkEncoding compares an event with what the library makes of it. It reports
// whether the event was encoded at all.
func checkEncoding(t *testing.T, e *auditinternal.Event) bool {
	t.Helper()
	got, ok := audit.AppendEvent(nil, e)
	if !ok {
		return false
	}
	want, err := runtime.Encode(kubeaudit.Codecs.LegacyCodec(auditv1.SchemeGroupVersion), e)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("got  %swant %s", got, want)
	}
	return true
}

// A filler fills a value with what is random, but finds its way back: nothing,
// little or much of everything that there is, also in fields that the library
// may get one day.
type filler struct {
	*rand.Rand
	texts []string
}

func (f filler) fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[metav1.MicroTime]() {
		if f.IntN(4) > 0 {
			v.Set(reflect.ValueOf(metav1.NewMicroTime(time.UnixMicro(f.Int64N(1 << 58)))))
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(f.texts[f.IntN(len(f.texts))])
	case reflect.Int32, reflect.Int64:
		v.SetInt(f.Int64N(3) - 1)
	case reflect.Uint8:
		v.SetUint('1')
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i))
		}
	case reflect.Pointer:
		if f.IntN(4) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem())
		}
	case reflect.Slice:
		if n := f.IntN(4); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n-1, n-1))
		}
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case reflect.Map:
		if f.IntN(3) > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range f.IntN(12) {
				key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
				f.fill(key)
				f.fill(value)
				v.SetMapIndex(key, value)
			}
		}
	default:
		panic("no way to fill a " + v.Type().String())
	}
}

// Every field of an event, filled or not, is written as the library writes it.
func TestAppendEventIsTheLibrarys(t *testing.T) {
	f := filler{rand.New(rand.NewPCG(1, 2)), []string{
		"", "", "a", "system:serviceaccount:ns:app", "Grüße", "\xff\xfe", "a\"b\\c", "<script>&", "\x00\n\t\x1f\x7f", "\u2028", "日本", "🙂",
		"/api/v1/pods?watch=1", "authorization.k8s.io/reason", "b", "c", "d",
	}}
	encoded := 0
	for range 20_000 {
		e := &auditinternal.Event{}
		f.fill(reflect.ValueOf(e).Elem())
		if f.IntN(2) == 0 {
			e.RequestObject, e.ResponseObject = nil, nil
		}
		if e.ResponseStatus != nil && f.IntN(4) > 0 {
			e.ResponseStatus.TypeMeta, e.ResponseStatus.ListMeta = metav1.TypeMeta{}, metav1.ListMeta{}
		}
		if checkEncoding(t, e) {
			encoded++
		}
	}
	if encoded < 5000 {
		t.Errorf("only %d events were encoded", encoded)
	}
}

// What only the library can encode is left to it, and written.
func TestEventsWithObjects(t *testing.T) {
	for _, e := range []*auditinternal.Event{
		{RequestObject: &runtime.Unknown{Raw: []byte("{}")}},
		{ResponseObject: &runtime.Unknown{Raw: []byte("{}")}},
	} {
		if checkEncoding(t, e) {
			t.Errorf("%+v was encoded", e)
		}
	}
}

// Every byte is seen at every place of a string, long or short.
func TestAppendStringIsTheLibrarys(t *testing.T) {
	for _, size := range []int{1, 7, 8, 9, 16, 21} {
		for at := range size {
			for c := range 256 {
				text := []byte(strings.Repeat("a", size))
				text[at] = byte(c)
				if at > 0 && c%2 == 0 {
					text[at-1] = '"'
				}
				want, err := json.Marshal(string(text))
				if err != nil {
					t.Fatal(err)
				}
				if got := audit.AppendString(nil, string(text)); string(got) != string(want) {
					t.Errorf("%q at %d of %d: got %s, want %s", rune(c), at, size, got, want)
				}
			}
		}
	}
}

func FuzzAppendEvent(f *testing.F) {
	f.Add("/api/v1/namespaces/ns/secrets/s", "kubectl/v1.37.0", "alice", "because", int64(1_700_000_000_000_000), int32(200))
	f.Add("/?a=<b>&c", "\xff", "Grüße", "", int64(0), int32(0))
	f.Fuzz(func(t *testing.T, uri, agent, name, reason string, micros int64, code int32) {
		now := metav1.NewMicroTime(time.UnixMicro(micros % (1 << 57)))
		e := &auditinternal.Event{
			Level: auditinternal.LevelMetadata, AuditID: "id", Stage: auditinternal.StageResponseComplete,
			RequestURI: uri, Verb: "get", UserAgent: agent, SourceIPs: []string{"192.0.2.1"},
			ObjectRef:                &auditinternal.ObjectReference{Resource: "secrets", Name: name, APIVersion: "v1"},
			ResponseStatus:           &metav1.Status{Code: code, Message: reason},
			RequestReceivedTimestamp: now, StageTimestamp: now,
			Annotations: map[string]string{"reason": reason, name: agent},
		}
		e.User.Username, e.User.Groups = name, []string{name, agent}
		if !checkEncoding(t, e) {
			t.Error("not encoded")
		}
	})
}
