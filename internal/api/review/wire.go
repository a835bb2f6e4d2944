package review

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/warning"
	kubejson "sigs.k8s.io/json"
)

// maxBody is the limit of the generic API server, in bytes.
const maxBody = 3 << 20

// firstRead bounds what is allocated on the word of a Content-Length.
const firstRead = 32 << 10

// A wire knows the encodings of reviews.
type wire struct {
	codecs     serializer.CodecFactory
	parameters runtime.ParameterCodec
	// inputs and outputs have the outcome of the negotiation for the headers
	// that clients really send; it would cost a microsecond each time.
	inputs, outputs map[string]runtime.SerializerInfo
}

func newWire() (*wire, error) {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	for _, add := range []func(*runtime.Scheme) error{authenticationv1.AddToScheme, authorizationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	wr := &wire{
		codecs:     serializer.NewCodecFactory(scheme),
		parameters: runtime.NewParameterCodec(scheme),
		inputs:     map[string]runtime.SerializerInfo{},
		outputs:    map[string]runtime.SerializerInfo{},
	}
	for _, t := range []string{"", runtime.ContentTypeJSON, runtime.ContentTypeYAML, runtime.ContentTypeProtobuf} {
		info, err := negotiation.NegotiateInputSerializerForMediaType(t, false, wr.codecs)
		if err != nil {
			return nil, err
		}
		wr.inputs[t] = info
	}
	for _, accept := range []string{
		"", "*/*", runtime.ContentTypeJSON, runtime.ContentTypeProtobuf,
		"application/json, */*",
		"application/vnd.kubernetes.protobuf,application/json",
	} {
		options, ok := negotiation.NegotiateMediaTypeOptions(accept, wr.codecs.SupportedMediaTypes(), negotiation.DefaultEndpointRestrictions)
		if !ok {
			return nil, fmt.Errorf("%s cannot be answered", accept)
		}
		wr.outputs[accept] = options.Accepted
	}
	return wr, nil
}

// input returns what decodes the body of r, or a 415.
func (wr *wire) input(r *http.Request) (runtime.SerializerInfo, error) {
	if info, ok := wr.inputs[r.Header.Get("Content-Type")]; ok {
		return info, nil
	}
	return negotiation.NegotiateInputSerializer(r, false, wr.codecs)
}

// output returns what encodes the answer to r, or a 406. Whoever might want it
// pretty, by parameter or by being a known tool, is left to the library.
func (wr *wire) output(r *http.Request) (runtime.SerializerInfo, error) {
	info, ok := wr.outputs[r.Header.Get("Accept")]
	if ok && !strings.Contains(r.URL.RawQuery, "pretty") && !browses(r.UserAgent()) {
		return info, nil
	}
	_, info, err := negotiation.NegotiateOutputMediaType(r, wr.codecs, negotiation.DefaultEndpointRestrictions)
	return info, err
}

// browses reports whether userAgent may be one that the library prints prettily
// for.
func browses(userAgent string) bool {
	return strings.HasPrefix(userAgent, "curl") || strings.HasPrefix(userAgent, "Wget") || strings.HasPrefix(userAgent, "Mozilla")
}

// readBody returns the body of r, or a 413.
func readBody(r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		return nil, tooLarge()
	}
	var b bytes.Buffer
	b.Grow(int(min(max(r.ContentLength, 0), firstRead)) + bytes.MinRead)
	_, err := b.ReadFrom(io.LimitReader(r.Body, maxBody+1))
	if limit := (*http.MaxBytesError)(nil); b.Len() > maxBody || errors.As(err, &limit) {
		return nil, tooLarge()
	}
	if err != nil {
		return nil, apierrors.NewBadRequest("reading body: " + err.Error())
	}
	return b.Bytes(), nil
}

func tooLarge() error {
	return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", maxBody))
}

// options returns the directive of ?fieldValidation, and a 400 or 422 for wrong
// create options. A dry run of a review is a review.
func (wr *wire) options(r *http.Request) (string, error) {
	if r.URL.RawQuery == "" {
		return metav1.FieldValidationWarn, nil
	}
	var o metav1.CreateOptions
	// What cannot be parsed is dropped, as upstream.
	values, _ := url.ParseQuery(r.URL.RawQuery)
	if err := wr.parameters.DecodeParameters(values, schema.GroupVersion{Version: "v1"}, &o); err != nil {
		return "", apierrors.NewBadRequest(err.Error())
	}
	if errs := metavalidation.ValidateCreateOptions(&o); len(errs) > 0 {
		return "", apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "CreateOptions"}, "", errs)
	}
	if o.FieldValidation == "" {
		return metav1.FieldValidationWarn, nil
	}
	return o.FieldValidation, nil
}

// decode returns the review of kind k in body, or a 400.
//
// Nearly every body is flawless JSON that names its kind, and is decoded by
// [kind.quick], or else in one pass. Whatever that pass does not like is decoded
// again by the serializer, whose word is the one that counts.
func (wr *wire) decode(ctx context.Context, k *kind, in runtime.SerializerInfo, body []byte, validation string) (object, error) {
	if in.MediaType == runtime.ContentTypeJSON && validation != metav1.FieldValidationIgnore {
		if review := k.quick(body); review != nil {
			return review, nil
		}
		review := k.new()
		strict, err := kubejson.UnmarshalStrict(body, review)
		if err == nil && len(strict) == 0 && review.GetObjectKind().GroupVersionKind() == k.gvk {
			return review, nil
		}
	}
	decoder := in.StrictSerializer
	if validation == metav1.FieldValidationIgnore {
		decoder = in.Serializer
	}
	want := k.new()
	got, gvk, err := decoder.Decode(body, &k.gvk, want)
	if strict, ok := runtime.AsStrictDecodingError(err); ok && got != nil && validation == metav1.FieldValidationWarn {
		warn(ctx, strict.Errors())
		err = nil
	}
	if gvk != nil && gvk.Kind == k.gvk.Kind && gvk.GroupVersion() != k.gvk.GroupVersion() && gvk.Group == k.gvk.Group {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%s)",
			gvk.GroupVersion(), k.gvk.GroupVersion()))
	}
	if err == nil && got != runtime.Object(want) {
		err = fmt.Errorf("converting (%s.%s) to (%s.%s): unknown conversion", gvk.Version, gvk.Kind, k.gvk.Version, k.gvk.Kind)
	}
	if err != nil {
		return nil, undecodable(k, gvk, err, body)
	}
	return want, nil
}

// undecodable is the 400 of the generic handlers for a body they cannot decode.
func undecodable(k *kind, gvk *schema.GroupVersionKind, err error, body []byte) error {
	if gvk != nil && gvk.Kind != "" {
		return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v", gvk.Kind, gvk.Version, k.gvk.Kind, err))
	}
	sample := summary(body)
	if k.secret() {
		// The message goes into the audit event.
		sample = "<hidden>"
	}
	return apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized (must be of type %s): %v (%s)", k.gvk.Kind, err, sample))
}

// summary returns the beginning of body as the generic handlers show it.
func summary(body []byte) string {
	const length = 30
	if len(body) == 0 {
		return "<empty>"
	}
	more := ""
	if len(body) > length {
		body, more = body[:length], " ..."
	}
	if body[0] == '{' && !bytes.ContainsFunc(body, odd) {
		return string(body) + more
	}
	return hex.EncodeToString(body) + more
}

// odd reports whether a character is a control character that does not just
// separate. Not every form of an answer can hold those.
func odd(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }

// warn adds a warning to the answer for each of the flaws of a body.
func warn(ctx context.Context, flaws []error) {
	for _, flaw := range flaws {
		text := strings.TrimPrefix(flaw.Error(), "error converting YAML to JSON: ")
		lines, isYAML := strings.CutPrefix(text, "yaml: unmarshal errors:\n")
		if !isYAML {
			warning.AddWarning(ctx, "", flaw.Error())
			continue
		}
		for _, line := range strings.Split(lines, "\n") {
			warning.AddWarning(ctx, "", strings.TrimSpace(line))
		}
	}
}
