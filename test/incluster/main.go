// Command incluster is a program as people write them for clusters: it finds all
// it needs by rest.InClusterConfig and knows nothing of Gatehouse. The tests run it
// where there is no cluster.
//
// It asks the server again and again who it is, with one client that lives on and
// with a fresh one whenever the token in the file is another, and prints an
// [Answer] a line.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	tokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	pause     = 50 * time.Millisecond
)

// An Answer is what the server said to one question.
type Answer struct {
	// Client is "old" or "fresh".
	Client string
	// Asked is when the question was put.
	Asked time.Time
	// Token is which one of the tokens seen was in the file, from 1.
	Token int
	// User and Credential are of an answer, Unauthorized of a refusal, and Error
	// of everything else.
	User, Credential string
	Unauthorized     bool
	Error            string
}

func main() {
	fmt.Fprintln(os.Stderr, run())
	os.Exit(1)
}

// run asks until something is wrong that is no answer.
func run() error {
	old, err := client()
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	var last []byte
	for n := 0; ; time.Sleep(pause) {
		token, err := os.ReadFile(tokenFile)
		if err != nil {
			return err
		}
		if !bytes.Equal(token, last) {
			n, last = n+1, token
			fresh, err := client()
			if err != nil {
				return err
			}
			if err := out.Encode(ask(fresh, "fresh", n)); err != nil {
				return err
			}
		}
		if err := out.Encode(ask(old, "old", n)); err != nil {
			return err
		}
	}
}

func client() (*kubernetes.Clientset, error) {
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	config.Timeout = 5 * time.Second
	return kubernetes.NewForConfig(config)
}

func ask(c *kubernetes.Clientset, name string, token int) Answer {
	a := Answer{Client: name, Asked: time.Now(), Token: token}
	review, err := c.AuthenticationV1().SelfSubjectReviews().Create(context.Background(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	switch {
	case apierrors.IsUnauthorized(err):
		a.Unauthorized = true
	case err != nil:
		a.Error = err.Error()
	default:
		a.User = review.Status.UserInfo.Username
		for _, id := range review.Status.UserInfo.Extra["authentication.kubernetes.io/credential-id"] {
			a.Credential = id
		}
	}
	return a
}
