// Command guard is a web server that serves a page to those who may see it. It
// knows them by the certificates of a CA and by the tokens in a file, and has its
// rules in a manifest of RBAC, all in one folder: ca.crt, tokens.csv and
// rules.yaml, besides its own tls.crt and tls.key. It follows the first two.
//
//	guard FOLDER localhost:8443
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/authn/statictoken"
	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/guard"
)

// guarded returns a server that lets nobody to next without knowing who he is,
// and that he may.
func guarded(ctx context.Context, dir string, next http.Handler) (*http.Server, error) {
	clients, err := clientcert.OpenBundle(filepath.Join(dir, "ca.crt"), nil)
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	rand.Read(key) // never fails
	tokens, err := statictoken.Open(statictoken.Config{Path: filepath.Join(dir, "tokens.csv"), Key: key})
	if err != nil {
		return nil, err
	}
	rules, err := rbac.Load(filepath.Join(dir, "rules.yaml"))
	if err != nil {
		return nil, err
	}
	go clients.Run(ctx)
	go tokens.Run(ctx)
	return &http.Server{
		Handler: guard.New(guard.Config{
			Authenticator: authn.Chain(clientcert.New(clients), authn.Bearer(authn.Tokens(tokens))),
			Authorizer:    rules,
			Refused: func(r *http.Request, status int, why error) {
				log.Printf("%s %q: %d: %v", r.Method, r.URL.Path, status, why)
			},
		}, next),
		ConnContext: guard.ConnContext,
		TLSConfig:   &tls.Config{ClientAuth: tls.RequestClientCert},
	}, nil
}

func page(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s sees %s\n", guard.Caller(r.Context()).Name, r.URL.Path)
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: guard FOLDER ADDRESS")
	}
	dir := os.Args[1]
	server, err := guarded(context.Background(), dir, http.HandlerFunc(page))
	if err != nil {
		log.Fatal(err)
	}
	server.Addr = os.Args[2]
	log.Fatal(server.ListenAndServeTLS(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")))
}
