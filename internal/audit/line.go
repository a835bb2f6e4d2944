package audit

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
	pluginlog "k8s.io/apiserver/plugin/pkg/audit/log"

	"gatehouse.dev/gatehouse/authn"
)

// encoded is the part of a record that all its lines share, and room for one of
// them.
type encoded struct {
	// shared has the request and its user up to user, where the request came
	// from up to agent, and then the time when it came.
	shared      []byte
	user, agent int
	line        []byte
}

// encode begins the lines of r, with what k8s.io/apiserver pkg/audit
// LogRequestMetadata puts into an event, but for secrets.
func (l *logFile) encode(r *http.Request, facts *attributes, received time.Time) *encoded {
	enc := l.encoded.Get().(*encoded)
	dst := appendField(enc.shared[:0], `,"requestURI":`, hideAccessToken(r.URL.RequestURI()))
	dst = append(appendField(dst, `,"verb":`, facts.info.Verb), `,"user":`...)
	if who := facts.caller; who != nil {
		dst = appendUser(dst, who.GetName(), who.GetUID(), who.GetGroups(), who.GetExtra())
	} else {
		dst = append(dst, '{', '}')
	}
	enc.user = len(dst)
	dst = appendAgent(appendSources(dst, r), cutAgent(r.UserAgent()))
	enc.agent = len(dst)
	enc.shared = appendTime(dst, received)
	return enc
}

// release forgets an encoded record.
func (l *logFile) release(enc *encoded) {
	if cap(enc.shared)+cap(enc.line) <= largestLine {
		l.encoded.Put(enc)
	}
}

// ProcessEvents writes the line of the stage that the library has come to. It
// makes the record the library's sink, and is called under the lock of e.
func (rec *Record) ProcessEvents(events ...*auditinternal.Event) bool {
	ok := true
	for _, e := range events {
		ok = rec.write(e) && ok
	}
	return ok || rec.trail.lenient
}

func (rec *Record) write(e *auditinternal.Event) bool {
	enc := rec.encoded
	if enc == nil {
		return true // an answer that goes on behind the last event
	}
	enc.line = rec.appendLine(enc.line[:0], e)
	_, err := rec.trail.lines.out.Write(enc.line)
	if err != nil {
		lost := &auditinternal.Event{}
		if runtime.DecodeInto(audit.Codecs.UniversalDecoder(), enc.line, lost) != nil {
			lost = e
		}
		audit.HandlePluginError(pluginlog.PluginName, err, lost)
	}
	if e.Stage == rec.last || e.Stage == auditinternal.StagePanic {
		rec.encoded = nil
		rec.trail.lines.release(enc)
	}
	return err == nil
}

// appendLine appends what [appendEvent] would for e, if all of the record were
// in it, and no secret.
func (rec *Record) appendLine(dst []byte, e *auditinternal.Event) []byte {
	enc := rec.encoded
	dst = append(appendHead(dst, e), enc.shared[:enc.user]...)
	dst = append(appendActing(dst, e), enc.shared[enc.user:enc.agent]...)
	ref, some := rec.reference(e.ObjectRef)
	if some {
		dst = appendReference(dst, &ref)
	}
	dst = rec.appendAnswer(dst, e.ResponseStatus, some && ofSecrets(&ref))
	received := enc.shared[enc.agent:]
	dst = append(append(dst, `,"requestReceivedTimestamp":`...), received...)
	dst = append(dst, `,"stageTimestamp":`...)
	if e.Stage == auditinternal.StageRequestReceived {
		dst = append(dst, received...)
	} else {
		dst = appendTime(dst, e.StageTimestamp.Time)
	}
	return append(rec.appendAnnotations(dst, e.Annotations), '}', '\n')
}

// reference returns the object of the request, with what the handlers have
// found out about it, or false if there is none.
func (rec *Record) reference(found *auditinternal.ObjectReference) (auditinternal.ObjectReference, bool) {
	var ref auditinternal.ObjectReference
	if i := rec.info; i.IsResourceRequest {
		ref = auditinternal.ObjectReference{
			Namespace: i.Namespace, Name: i.Name, Resource: i.Resource, Subresource: i.Subresource,
			APIGroup: i.APIGroup, APIVersion: i.APIVersion,
		}
	}
	if found == nil {
		return ref, rec.info.IsResourceRequest
	}
	// As in the library's LogRequestObject, which found nothing there.
	for _, f := range []struct{ field, found *string }{
		{&ref.Namespace, &found.Namespace}, {&ref.Name, &found.Name},
		{&ref.Resource, &found.Resource}, {&ref.Subresource, &found.Subresource},
	} {
		if *f.field == "" {
			*f.field = *f.found
		}
	}
	if ref.APIVersion == "" {
		ref.APIGroup, ref.APIVersion = found.APIGroup, found.APIVersion
	}
	ref.UID, ref.ResourceVersion = found.UID, found.ResourceVersion
	return ref, true
}

func (rec *Record) appendAnswer(dst []byte, status *metav1.Status, secrets bool) []byte {
	if status == nil {
		code := rec.code.Load()
		if code == 0 {
			return dst
		}
		status = &metav1.Status{Code: code}
	}
	if secrets {
		status = withoutQuotes(status)
	}
	return appendStatus(append(dst, `,"responseStatus":`...), status)
}

// appendAnnotations appends the door's annotations and those of the handlers.
func (rec *Record) appendAnnotations(dst []byte, added map[string]string) []byte {
	var space [12]authn.Annotation
	all := append(space[:0], rec.said...)
	for key, value := range added {
		all = append(all, authn.Annotation{Key: key, Value: value})
	}
	if len(all) == 0 {
		return dst
	}
	slices.SortStableFunc(all, func(a, b authn.Annotation) int { return strings.Compare(a.Key, b.Key) })
	o := object{dst: append(dst, `,"annotations":`...)}
	for i, a := range all {
		if i == 0 || a.Key != all[i-1].Key {
			o.dst = appendString(append(appendString(o.next(), a.Key), ':'), a.Value)
		}
	}
	return o.end()
}

// appendSources appends where r came from. Nearly always that is only the
// address of the connection, and an address that the standard library reads is
// one for Kubernetes' too.
func appendSources(dst []byte, r *http.Request) []byte {
	const name = `,"sourceIPs":`
	if r.Header.Get("X-Forwarded-For") == "" && r.Header.Get("X-Real-Ip") == "" {
		if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil && addr.Addr().Zone() == "" {
			dst = append(append(dst, name...), '[', '"')
			return append(addr.Addr().Unmap().AppendTo(dst), '"', ']')
		}
	}
	ips := utilnet.SourceIPs(r)
	if len(ips) == 0 {
		return dst
	}
	texts := make([]string, len(ips))
	for i, ip := range ips {
		texts[i] = ip.String()
	}
	return appendStrings(append(dst, name...), texts)
}

// cutAgent is the library's maybeTruncateUserAgent.
func cutAgent(agent string) string {
	const longest = 1024
	if len(agent) > longest {
		return agent[:longest] + "...TRUNCATED"
	}
	return agent
}
