package main

import (
	"crypto/x509"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/revocation"
)

// revocable is a kind of what can be revoked.
type revocable struct {
	name, arg, short, long, example string
	// timed says that it may be narrowed down to what was issued before a time.
	timed bool
	flags func(*pflag.FlagSet)
	args  func(*cobra.Command, []string) error
	// spec says what is revoked by the arguments.
	spec func(cmd *cobra.Command, r *revoking, args []string) (v1alpha1.RevocationSpec, error)
}

func (k revocable) command(stdout io.Writer) *cobra.Command {
	r := &revoking{}
	cmd := &cobra.Command{
		Use: k.name + " " + k.arg + " [flags]", Short: k.short, Long: k.long, Example: k.example, Args: k.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			var s v1alpha1.RevocationSpec
			if err := r.fill(cmd, &s); err != nil {
				return err
			}
			named, err := k.spec(cmd, r, args)
			if err != nil {
				return err
			}
			named.Reason, named.Message, named.Force = s.Reason, s.Message, s.Force
			named.ExpiresAt, named.IssuedBefore = s.ExpiresAt, s.IssuedBefore
			return r.make(cmd, stdout, k.name, named)
		},
	}
	r.addFlags(cmd.Flags(), k.timed)
	if k.flags != nil {
		k.flags(cmd.Flags())
	}
	return cmd
}

// revocableKinds are all of them.
func revocableKinds(stdin io.Reader) []revocable {
	return append([]revocable{
		revocableCertificate(stdin), revocableToken(stdin), revocableKey(stdin), revocableIssuer(stdin), revocableCredential(),
	}, revocablePeople()...)
}

func revocableCertificate(stdin io.Reader) revocable {
	var fingerprint, issuer, serial string
	var keep bool
	named := func(cmd *cobra.Command, r *revoking, args []string) (v1alpha1.RevocationSpec, error) {
		switch {
		case fingerprint != "":
			return r.registered(cmd, "X509SHA256="+hexDigits(fingerprint))
		case issuer != "":
			number := strings.TrimLeft(hexDigits(serial), "0")
			if number == "" {
				number = "0"
			}
			return v1alpha1.RevocationSpec{Certificate: &v1alpha1.RevokedCertificate{Issuer: issuer, SerialNumber: number}}, nil
		}
		cert, err := certificateOf(cmd, args[0], stdin)
		if err != nil {
			return v1alpha1.RevocationSpec{}, err
		}
		return revocation.OfCertificate(cert), nil
	}
	return revocable{
		name: "certificate", arg: "[FILE | -]",
		short: "Revoke a certificate, all that chain to it, and its renewals",
		long: `Revokes the first certificate in a PEM file. It is named by its issuer and serial
number and by the digest of what its signature covers, so that nobody makes
another certificate of it by rewriting the signature.

Whoever had its key may have renewed it. So a certificate that this server has issued
is revoked with all that the same user has got with it, and what it was got with, of
whichever signers, and whether that is known already or not; --keep-renewals is for
one that was only replaced.

Without the file: --fingerprint takes the SHA-256 of a certificate that this server
has issued, which its register resolves; --issuer and --serial name any one.`,
		example: `  gatehouse revoke certificate jane.crt --reason keyCompromise
  gatehouse revoke certificate --fingerprint 5E:14:20:...
  gatehouse revoke certificate --issuer CN=old-ca,O=example --serial 2a`,
		flags: func(flags *pflag.FlagSet) {
			flags.StringVar(&fingerprint, "fingerprint", "", "The SHA-256 of the certificate in hexadecimal, in place of a file.")
			flags.StringVar(&issuer, "issuer", "", "The subject of its CA, as openssl x509 -issuer -nameopt RFC2253 prints it, in place of a file.")
			flags.StringVar(&serial, "serial", "", "Its serial number in hexadecimal, with --issuer.")
			flags.BoolVar(&keep, "keep-renewals", false, "Revoke this one alone, and not what its user has got with it, or it with.")
		},
		args: func(cmd *cobra.Command, args []string) error {
			ways := len(args)
			for _, given := range []bool{fingerprint != "", issuer != "" || serial != ""} {
				if given {
					ways++
				}
			}
			if ways != 1 || (issuer == "") != (serial == "") {
				return usage(cmd, "the certificate is not named in one way", "give a file, or --fingerprint, or --issuer and --serial")
			}
			return nil
		},
		spec: func(cmd *cobra.Command, r *revoking, args []string) (v1alpha1.RevocationSpec, error) {
			spec, err := named(cmd, r, args)
			if keep && spec.Certificate != nil {
				spec.Certificate.Renewals = v1alpha1.RenewalsKept
			}
			return spec, err
		},
	}
}

func revocableToken(stdin io.Reader) revocable {
	return revocable{
		name: "token", arg: "FILE | -",
		short: "Revoke a signed token: of a service account, of OpenID Connect, or any JWT",
		long: `Revokes the token in a file, or - for standard input. It need not be good, and is not
sent anywhere: the command sends the issuer, the jti and the digest of what the
signature covers.`,
		example: `  gatehouse revoke token - <leaked.token`,
		args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && strings.HasPrefix(args[0], "eyJ") && strings.Count(args[0], ".") == 2 {
				return usage(cmd, "the token itself is an argument, where every process of the machine can read it",
					"give a file that has it, or - and the token on standard input; and revoke this one")
			}
			return oneArgument("a file with the token, or - for standard input")(cmd, args)
		},
		spec: func(cmd *cobra.Command, _ *revoking, args []string) (v1alpha1.RevocationSpec, error) {
			text, err := readCredential(args[0], stdin)
			if err != nil {
				return v1alpha1.RevocationSpec{}, unreadable(cmd, args[0], err)
			}
			named, err := revocation.OfToken(strings.TrimSpace(string(text)))
			if err != nil {
				return named, unreadable(cmd, args[0], err)
			}
			return named, nil
		},
	}
}

func revocableKey(stdin io.Reader) revocable {
	var issuer, ca string
	return revocable{
		name: "key", arg: "[KEY-ID]", timed: true,
		short: "Revoke a key: all tokens or certificates that it has signed, and will sign",
		example: `  gatehouse revoke key 2026-03-old --issuer https://idp.example.org
  gatehouse revoke key --ca-file old-ca.crt`,
		flags: func(flags *pflag.FlagSet) {
			flags.StringVar(&issuer, "issuer", "", "The issuer that it signs for. Without it, whatever issuer uses that ID.")
			flags.StringVar(&ca, "ca-file", "", "The certificate of the CA whose key it is, in place of an ID.")
		},
		args: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (ca != "") || ca != "" && issuer != "" {
				return usage(cmd, "the key is not named in one way", "give its ID, with --issuer if only one issuer is meant; or --ca-file")
			}
			return nil
		},
		spec: func(cmd *cobra.Command, _ *revoking, args []string) (v1alpha1.RevocationSpec, error) {
			if ca == "" {
				return v1alpha1.RevocationSpec{Key: &v1alpha1.RevokedKey{ID: args[0], Issuer: issuer}}, nil
			}
			cert, err := certificateOf(cmd, ca, stdin)
			if err != nil {
				return v1alpha1.RevocationSpec{}, err
			}
			return revocation.OfItsKey(cert)
		},
	}
}

func revocableIssuer(stdin io.Reader) revocable {
	var ca string
	return revocable{
		name: "issuer", arg: "[ISSUER]", timed: true,
		short: "Revoke an issuer: all that it has issued, and will issue",
		example: `  gatehouse revoke issuer https://idp.example.org
  gatehouse revoke issuer --ca-file old-ca.crt`,
		flags: func(flags *pflag.FlagSet) {
			flags.StringVar(&ca, "ca-file", "", "The certificate of a CA, in place of the iss of tokens.")
		},
		args: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (ca != "") {
				return usage(cmd, "the issuer is not named in one way", "give the iss of its tokens, or --ca-file")
			}
			return nil
		},
		spec: func(cmd *cobra.Command, _ *revoking, args []string) (v1alpha1.RevocationSpec, error) {
			if ca == "" {
				return v1alpha1.RevocationSpec{Issuer: args[0]}, nil
			}
			cert, err := certificateOf(cmd, ca, stdin)
			if err != nil {
				return v1alpha1.RevocationSpec{}, err
			}
			return revocation.OfAuthority(cert), nil
		},
	}
}

func revocableCredential() revocable {
	return revocable{
		name: "credential", arg: "CREDENTIAL-ID", timed: true,
		short: "Revoke a credential by its ID, as audit events have it",
		long: `Revokes a credential that is not signed: NAME=, TOKEN=, USER=, TOKENID= or SECRET=. Of
what this server has issued, JTI= and X509SHA256= will do: its register resolves
them.`,
		example: `  gatehouse revoke credential NAME=ci
  gatehouse revoke credential JTI=5b0d1c3e-2f67-4b2a-9a0e-7a5f3f1e9c11`,
		args: oneArgument("the ID, such as NAME=ci"),
		spec: func(cmd *cobra.Command, r *revoking, args []string) (v1alpha1.RevocationSpec, error) {
			if strings.HasPrefix(args[0], "JTI=") || strings.HasPrefix(args[0], "X509SHA256=") {
				return r.registered(cmd, args[0])
			}
			return v1alpha1.RevocationSpec{CredentialID: args[0]}, nil
		},
	}
}

// revocablePeople are those that a name is enough for.
func revocablePeople() []revocable {
	type spec = v1alpha1.RevocationSpec
	return []revocable{
		{name: "user", arg: "NAME", timed: true, short: "Revoke a user, by whatever method he comes", args: oneArgument("the name of a user"),
			example: `  gatehouse revoke user jane --message "left the company"`,
			spec:    func(_ *cobra.Command, _ *revoking, args []string) (spec, error) { return spec{User: args[0]}, nil }},
		{name: "group", arg: "NAME", timed: true, short: "Revoke all members of a group", args: oneArgument("the name of a group"),
			example: `  gatehouse revoke group contractors --until 30d --reason certificateHold`,
			spec:    func(_ *cobra.Command, _ *revoking, args []string) (spec, error) { return spec{Group: args[0]}, nil }},
		{name: "serviceaccount", arg: "NAMESPACE/NAME", timed: true, short: "Revoke a service account: all its tokens",
			args: oneArgument("a service account, as NAMESPACE/NAME"), example: `  gatehouse revoke serviceaccount default/robot --issued-before now`,
			spec: func(cmd *cobra.Command, _ *revoking, args []string) (spec, error) {
				namespace, name, ok := strings.Cut(args[0], "/")
				if !ok || namespace == "" || name == "" {
					return spec{}, usage(cmd, fmt.Sprintf("%q is no service account", args[0]), "write it as NAMESPACE/NAME")
				}
				return spec{ServiceAccount: &v1alpha1.RevokedServiceAccount{Namespace: namespace, Name: name}}, nil
			}},
	}
}

// registered says what the register of the server knows of an ID.
func (r *revoking) registered(cmd *cobra.Command, id string) (v1alpha1.RevocationSpec, error) {
	ctx, stop := untilSignal(cmd.Context())
	defer stop()
	found, err := r.asker.Credential(ctx, id)
	if err == nil {
		s := found.Status
		var named v1alpha1.RevocationSpec
		if named, err = revocation.OfRegistered(identity.Method(s.Method), s.Issuer, s.CredentialID, s.Digest, s.ExpirationTime); err == nil {
			return named, nil
		}
	}
	return v1alpha1.RevocationSpec{}, &config.Problem{
		Where: cmd.CommandPath(), What: err.Error(),
		Mend: "name the credential by its file, if somebody else has issued it; the register needs the right to get and list credentials.gatehouse.dev",
	}
}

// certificateOf reads the first certificate of a file.
func certificateOf(cmd *cobra.Command, file string, stdin io.Reader) (*x509.Certificate, error) {
	text, err := readCredential(file, stdin)
	if err == nil {
		var certs []*x509.Certificate
		if certs, err = pki.ParseCertificates(text); err == nil {
			return certs[0], nil
		}
	}
	return nil, unreadable(cmd, file, err)
}

func unreadable(cmd *cobra.Command, file string, err error) error {
	return &config.Problem{Where: cmd.CommandPath() + " " + file, What: err.Error(), Mend: "give the file that has it, or - for standard input"}
}

// hexDigits returns a number in hexadecimal as it is compared.
func hexDigits(text string) string {
	return strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(strings.TrimPrefix(text, "0x")))
}
