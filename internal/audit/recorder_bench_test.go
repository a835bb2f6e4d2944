package audit_test

import (
	"net/http/httptest"
	"testing"

	"gatehouse.dev/gatehouse/internal/audit"
)

// BenchmarkRecord measures what the filter adds to a request. The log goes to
// a file on a memory file system if the temporary directory is one.
func BenchmarkRecord(b *testing.B) {
	for _, level := range []string{"None", "Metadata"} {
		b.Run(level, func(b *testing.B) {
			d := newDesk(b, "omitStages: [RequestReceived]\nrules: [{level: "+level+"}]")
			h := audit.WithID(d.Record(answer(200)))
			r := incoming("GET", "/api/v1/namespaces/ns/secrets/s", alice())
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
