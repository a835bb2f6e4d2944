package kubeauth_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/kubernetes/scheme"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/kubeauth"
)

// before puts our authenticators and authorizers into the library's filters.
func before(next http.Handler, who authn.Authenticator, may authz.Authorizer) http.Handler {
	h := filters.WithAuthorization(next, kubeauth.Authorizer(may), scheme.Codecs)
	h = filters.WithAuthentication(h, kubeauth.Request(who), filters.Unauthorized(scheme.Codecs), nil, nil)
	return filters.WithRequestInfo(h, &request.RequestInfoFactory{})
}

func Example() {
	hello := func(w http.ResponseWriter, r *http.Request) {
		who, _ := request.UserFrom(r.Context())
		fmt.Fprint(w, "hello ", who.GetName())
	}
	server := before(http.HandlerFunc(hello), authn.Bearer(authn.Tokens(people{})), authz.AlwaysAllow())
	for _, token := range []string{"jane.api", "bad.api"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 200
	// 401
}
