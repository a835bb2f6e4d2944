package door

import (
	"net/http"
	"time"

	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
)

// LastWords is how long an answer may be on its way after its request's time.
const LastWords = lastWords

// Timeout returns how long a request may take at most that has most.
func Timeout(most time.Duration, r *http.Request) (time.Duration, error) {
	return (&door{Config: Config{RequestTimeout: most}}).timeout(r)
}

// NewInfos returns what reads URLs and remembers what they mean.
func NewInfos() func(*http.Request) (*genericapirequest.RequestInfo, error) { return newInfos().of }
