package door

import (
	"net/http"

	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
)

// LastWords is how long an answer may be on its way after its request's time.
const LastWords = lastWords

// NewInfos returns what reads URLs and remembers what they mean.
func NewInfos() func(*http.Request) (*genericapirequest.RequestInfo, error) { return newInfos().of }
