package audit

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
)

// appendEvent appends e as one line of JSON in the version audit.k8s.io/v1, byte
// for byte as the library's codec encodes it, and without its conversions and
// reflection. It reports false, and the result
// means nothing, if e has what only the library can encode: whole objects and
// the details of a failure.
func appendEvent(dst []byte, e *auditinternal.Event) ([]byte, bool) {
	if e.RequestObject != nil || e.ResponseObject != nil || !plain(e.ResponseStatus) {
		return dst, false
	}
	dst = append(dst, `{"kind":"Event","apiVersion":"audit.k8s.io/v1"`...)
	dst = appendField(dst, `,"level":`, string(e.Level))
	dst = appendField(dst, `,"auditID":`, string(e.AuditID))
	dst = appendField(dst, `,"stage":`, string(e.Stage))
	dst = appendField(dst, `,"requestURI":`, e.RequestURI)
	dst = appendField(dst, `,"verb":`, e.Verb)
	dst = appendUser(append(dst, `,"user":`...), &e.User)
	if e.ImpersonatedUser != nil {
		dst = appendUser(append(dst, `,"impersonatedUser":`...), e.ImpersonatedUser)
	}
	if m := e.AuthenticationMetadata; m != nil {
		o := object{dst: append(dst, `,"authenticationMetadata":`...)}
		o.text(`"impersonationConstraint":`, m.ImpersonationConstraint)
		dst = o.end()
	}
	if len(e.SourceIPs) > 0 {
		dst = appendStrings(append(dst, `,"sourceIPs":`...), e.SourceIPs)
	}
	if e.UserAgent != "" {
		dst = appendField(dst, `,"userAgent":`, e.UserAgent)
	}
	if e.ObjectRef != nil {
		dst = appendReference(append(dst, `,"objectRef":`...), e.ObjectRef)
	}
	if e.ResponseStatus != nil {
		dst = appendStatus(append(dst, `,"responseStatus":{"metadata":{}`...), e.ResponseStatus)
	}
	dst = appendTime(append(dst, `,"requestReceivedTimestamp":`...), e.RequestReceivedTimestamp)
	dst = appendTime(append(dst, `,"stageTimestamp":`...), e.StageTimestamp)
	if len(e.Annotations) > 0 {
		o := object{dst: append(dst, `,"annotations":`...)}
		for key, value := range sorted(e.Annotations) {
			o.dst = appendString(append(appendString(o.next(), key), ':'), value)
		}
		dst = o.end()
	}
	return append(dst, '}', '\n'), true
}

// plain reports whether s has only what [appendStatus] writes.
func plain(s *metav1.Status) bool {
	return s == nil || s.Details == nil && s.TypeMeta == (metav1.TypeMeta{}) && s.ListMeta == (metav1.ListMeta{})
}

// An object is a JSON object that is being appended to dst.
type object struct {
	dst  []byte
	some bool
}

// next opens the object, or separates what comes from what there is.
func (o *object) next() []byte {
	if o.some {
		return append(o.dst, ',')
	}
	o.some = true
	return append(o.dst, '{')
}

// text adds a member unless its value is empty. The key has quotes and a colon.
func (o *object) text(key, value string) {
	if value != "" {
		o.dst = appendField(o.next(), key, value)
	}
}

func (o *object) end() []byte {
	if !o.some {
		return append(o.dst, '{', '}')
	}
	return append(o.dst, '}')
}

func appendUser(dst []byte, u *authenticationv1.UserInfo) []byte {
	o := object{dst: dst}
	o.text(`"username":`, u.Username)
	o.text(`"uid":`, u.UID)
	if len(u.Groups) > 0 {
		o.dst = appendStrings(append(o.next(), `"groups":`...), u.Groups)
	}
	if len(u.Extra) > 0 {
		extra := object{dst: append(o.next(), `"extra":`...)}
		for key, values := range sorted(u.Extra) {
			extra.dst = appendStrings(append(appendString(extra.next(), key), ':'), values)
		}
		o.dst = extra.end()
	}
	return o.end()
}

func appendReference(dst []byte, r *auditinternal.ObjectReference) []byte {
	o := object{dst: dst}
	o.text(`"resource":`, r.Resource)
	o.text(`"namespace":`, r.Namespace)
	o.text(`"name":`, r.Name)
	o.text(`"uid":`, string(r.UID))
	o.text(`"apiGroup":`, r.APIGroup)
	o.text(`"apiVersion":`, r.APIVersion)
	o.text(`"resourceVersion":`, r.ResourceVersion)
	o.text(`"subresource":`, r.Subresource)
	return o.end()
}

// appendStatus ends a status whose metadata, which is always there, is written.
func appendStatus(dst []byte, s *metav1.Status) []byte {
	o := object{dst: dst, some: true}
	o.text(`"status":`, s.Status)
	o.text(`"message":`, s.Message)
	o.text(`"reason":`, string(s.Reason))
	if s.Code != 0 {
		o.dst = strconv.AppendInt(append(o.next(), `"code":`...), int64(s.Code), 10)
	}
	return o.end()
}

func appendTime(dst []byte, t metav1.MicroTime) []byte {
	if t.Time.IsZero() {
		return append(dst, "null"...)
	}
	return append(t.UTC().AppendFormat(append(dst, '"'), metav1.RFC3339Micro), '"')
}

func appendStrings[S ~[]string](dst []byte, list S) []byte {
	if list == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

// appendField appends what comes before a string, and the string.
func appendField(dst []byte, before, s string) []byte {
	return appendString(append(dst, before...), s)
}

// appendString appends s in quotes. What encoding/json would escape, or mend,
// is escaped and mended here too; by encoding/json itself, unless it is the
// quotes that reasons are full of.
func appendString(dst []byte, s string) []byte {
	out, from := append(dst, '"'), 0
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case len(s)-i >= 8 && verbatimWord(s[i:]):
			i += 8
		case verbatim(c):
			i++
		case c == '"' || c == '\\':
			out = append(append(out, s[from:i]...), '\\', c)
			i++
			from = i
		default:
			text, err := json.Marshal(s)
			if err != nil {
				panic("internal error: a string has no JSON form: " + err.Error())
			}
			return append(dst, text...)
		}
	}
	return append(append(out, s[from:]...), '"')
}

// verbatimWord reports whether the first eight bytes all stand for themselves,
// in the time that one of them would take.
func verbatimWord(s string) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	_ = s[7]
	w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	// A byte that is zero has its high bit set by this, and no byte if none is.
	zero := func(w uint64) uint64 { return (w - ones) &^ w }
	found := w | (w - ' '*ones) | // beyond ASCII, and below the space
		zero((w|4*ones)^'&'*ones) | // & and "
		zero((w|2*ones)^'>'*ones) | // > and <
		zero(w^'\\'*ones)
	return found&high == 0
}

// verbatim reports whether c stands for itself in a JSON string, and is of one
// byte.
func verbatim(c byte) bool {
	const (
		low  = 1<<64 - 1<<' ' - 1<<'"' - 1<<'&' - 1<<'<' - 1<<'>'
		high = 1<<63 - 1 - 1<<('\\'-64)
	)
	if c < 64 {
		return uint64(low)>>c&1 != 0
	}
	return c < 128 && uint64(high)>>(c-64)&1 != 0
}

// sorted returns the entries of m in the order of their keys, as encoding/json
// does. Up to eight of them, which is nearly always, need no allocation.
func sorted[V any](m map[string]V) func(yield func(string, V) bool) {
	return func(yield func(string, V) bool) {
		var space [8]string
		keys := slices.AppendSeq(space[:0], maps.Keys(m))
		slices.Sort(keys)
		for _, key := range keys {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
