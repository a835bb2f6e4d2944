package audit

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
)

// appendEvent appends e as one line of JSON in the version audit.k8s.io/v1, byte
// for byte as the library's codec encodes it, and without its conversions and
// reflection. It reports false, and the result means nothing, if e has whole
// objects: those only the library can encode.
func appendEvent(dst []byte, e *auditinternal.Event) ([]byte, bool) {
	if e.RequestObject != nil || e.ResponseObject != nil {
		return dst, false
	}
	dst = appendHead(dst, e)
	dst = appendField(dst, `,"requestURI":`, e.RequestURI)
	dst = appendField(dst, `,"verb":`, e.Verb)
	dst = appendUserInfo(append(dst, `,"user":`...), &e.User)
	dst = appendActing(dst, e)
	if len(e.SourceIPs) > 0 {
		dst = appendStrings(append(dst, `,"sourceIPs":`...), e.SourceIPs)
	}
	dst = appendAgent(dst, e.UserAgent)
	if e.ObjectRef != nil {
		dst = appendReference(dst, e.ObjectRef)
	}
	if e.ResponseStatus != nil {
		dst = appendStatus(append(dst, `,"responseStatus":`...), e.ResponseStatus)
	}
	dst = appendTime(append(dst, `,"requestReceivedTimestamp":`...), e.RequestReceivedTimestamp.Time)
	dst = appendTime(append(dst, `,"stageTimestamp":`...), e.StageTimestamp.Time)
	if len(e.Annotations) > 0 {
		o := object{dst: append(dst, `,"annotations":`...)}
		for key, value := range sorted(e.Annotations) {
			o.dst = appendString(append(appendString(o.next(), key), ':'), value)
		}
		dst = o.end()
	}
	return append(dst, '}', '\n'), true
}

// appendHead begins an event.
func appendHead(dst []byte, e *auditinternal.Event) []byte {
	dst = append(dst, `{"kind":"Event","apiVersion":"audit.k8s.io/v1"`...)
	dst = appendField(dst, `,"level":`, string(e.Level))
	dst = appendField(dst, `,"auditID":`, string(e.AuditID))
	return appendField(dst, `,"stage":`, string(e.Stage))
}

// appendActing appends whom the user of e acts as.
func appendActing(dst []byte, e *auditinternal.Event) []byte {
	if e.ImpersonatedUser != nil {
		dst = appendUserInfo(append(dst, `,"impersonatedUser":`...), e.ImpersonatedUser)
	}
	if m := e.AuthenticationMetadata; m != nil {
		o := object{dst: append(dst, `,"authenticationMetadata":`...)}
		o.text(`"impersonationConstraint":`, m.ImpersonationConstraint)
		dst = o.end()
	}
	return dst
}

func appendAgent(dst []byte, agent string) []byte {
	if agent == "" {
		return dst
	}
	return appendField(dst, `,"userAgent":`, agent)
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

// number adds a member unless its value is 0.
func (o *object) number(key string, value int32) {
	if value != 0 {
		o.dst = strconv.AppendInt(append(o.next(), key...), int64(value), 10)
	}
}

func (o *object) end() []byte {
	if !o.some {
		return append(o.dst, '{', '}')
	}
	return append(o.dst, '}')
}

func appendUserInfo(dst []byte, u *authenticationv1.UserInfo) []byte {
	return appendUser(dst, u.Username, u.UID, u.Groups, u.Extra)
}

func appendUser[V ~[]string](dst []byte, name, uid string, groups []string, extra map[string]V) []byte {
	o := object{dst: dst}
	o.text(`"username":`, name)
	o.text(`"uid":`, uid)
	if len(groups) > 0 {
		o.dst = appendStrings(append(o.next(), `"groups":`...), groups)
	}
	if len(extra) > 0 {
		e := object{dst: append(o.next(), `"extra":`...)}
		for key, values := range sorted(extra) {
			e.dst = appendStrings(append(appendString(e.next(), key), ':'), values)
		}
		o.dst = e.end()
	}
	return o.end()
}

func appendReference(dst []byte, r *auditinternal.ObjectReference) []byte {
	o := object{dst: append(dst, `,"objectRef":`...)}
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

func appendStatus(dst []byte, s *metav1.Status) []byte {
	if s.TypeMeta != (metav1.TypeMeta{}) || s.ListMeta != (metav1.ListMeta{}) {
		// Nobody gives these to an event.
		text, err := json.Marshal(s)
		if err != nil {
			panic("internal error: a status has no JSON form: " + err.Error())
		}
		return append(dst, text...)
	}
	o := object{dst: append(dst, `{"metadata":{}`...), some: true}
	o.text(`"status":`, s.Status)
	o.text(`"message":`, s.Message)
	o.text(`"reason":`, string(s.Reason))
	if s.Details != nil {
		o.dst = appendDetails(append(o.next(), `"details":`...), s.Details)
	}
	o.number(`"code":`, s.Code)
	return o.end()
}

func appendDetails(dst []byte, d *metav1.StatusDetails) []byte {
	o := object{dst: dst}
	o.text(`"name":`, d.Name)
	o.text(`"group":`, d.Group)
	o.text(`"kind":`, d.Kind)
	o.text(`"uid":`, string(d.UID))
	if len(d.Causes) > 0 {
		list := append(o.next(), `"causes":`...)
		for i, cause := range d.Causes {
			c := object{dst: append(list, "[,"[min(i, 1)])}
			c.text(`"reason":`, string(cause.Type))
			c.text(`"message":`, cause.Message)
			c.text(`"field":`, cause.Field)
			list = c.end()
		}
		o.dst = append(list, ']')
	}
	o.number(`"retryAfterSeconds":`, d.RetryAfterSeconds)
	return o.end()
}

func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
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
