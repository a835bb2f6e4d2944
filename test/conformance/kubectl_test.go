package conformance_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"gatehouse.dev/gatehouse/test/env"
	"gatehouse.dev/gatehouse/test/tools"
)

// TestKubectl runs every script with the oldest and the newest kubectl that we
// stand for. What they do differently is conditional in the script.
func TestKubectl(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	gatehouse := filepath.Dir(tools.Gatehouse(t))
	for _, minor := range []string{"1.28", "1.37"} {
		kubectl := tools.Kubectl(t, minor)
		t.Run(minor, func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Dir:                 "testdata",
				RequireExplicitExec: true,
				RequireUniqueNames:  true,
				Setup:               func(e *testscript.Env) error { return setUp(e, kubectl, gatehouse) },
				Condition:           func(cond string) (bool, error) { return isMinor(cond, minor) },
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"up":     up,
					"until":  until,
					"jwt":    decodeJWT,
					"setenv": setenv,
				},
			})
		})
	}
}

func setUp(e *testscript.Env, kubectl, gatehouse string) error {
	e.Setenv("PATH", strings.Join([]string{filepath.Dir(kubectl), gatehouse, os.Getenv("PATH")}, string(filepath.ListSeparator)))
	// kubectl keeps what it discovers there.
	e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
	e.Values["t"] = e.T()
	return os.Mkdir(filepath.Join(e.WorkDir, "home"), 0o755)
}

// isMinor answers conditions such as [kubectl:1.28].
func isMinor(cond, minor string) (bool, error) {
	want, ok := strings.CutPrefix(cond, "kubectl:")
	if !ok {
		return false, fmt.Errorf("unknown condition %q", cond)
	}
	return want == minor, nil
}

// up starts a server on an empty data folder: up [FLAG...]
func up(ts *testscript.TestScript, neg bool, flags []string) {
	if neg {
		ts.Fatalf("usage: up [FLAG...]")
	}
	s := env.Start(ts.Value("t").(testing.TB), flags...)
	ts.Setenv("ADDRESS", s.Address)
	ts.Setenv("KUBECONFIG", s.Kubeconfig)
	ts.Setenv("DATA", s.DataDir)
}

// until runs a command until its output matches: until PATTERN COMMAND ARG...
//
// The limit is only there so that a failure ends.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN COMMAND ARG...")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	const limit = 30 * time.Second
	for start := time.Now(); time.Since(start) < limit; time.Sleep(50 * time.Millisecond) {
		err = ts.Exec(args[1], args[2:]...)
		if err == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("no match for %q within %v; the last error was %v", args[0], limit, err)
}

// setenv sets a variable to what is in a file: setenv NAME FILE
func setenv(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: setenv NAME FILE")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// decodeJWT verifies a token with a library that Gatehouse does not use, and
// prints its header and claims, an indented line each: jwt KEYFILE TOKENFILE
func decodeJWT(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: jwt KEYFILE TOKENFILE")
	}
	key, err := publicKey([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	// The signature is what is checked here; the script looks at the claims.
	token, err := jwt.NewParser(jwt.WithoutClaimsValidation()).Parse(
		strings.TrimSpace(ts.ReadFile(args[1])), func(*jwt.Token) (any, error) { return key, nil })
	if neg {
		if err == nil {
			ts.Fatalf("the token is good, and should not be")
		}
		return
	}
	ts.Check(err)
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	ts.Check(enc.Encode(token.Header))
	ts.Check(enc.Encode(token.Claims))
	_, err = ts.Stdout().Write(out.Bytes())
	ts.Check(err)
}

// publicKey is the public half of the private key in a PEM file.
func publicKey(text []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the key file holds no PEM block")
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key.Public(), nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parsing the key: %w", err)
	}
	return key.(crypto.Signer).Public(), nil
}
