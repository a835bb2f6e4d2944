package v1alpha1

import (
	"fmt"
	"strings"
)

// Targets are the names of the fields that name what is revoked.
func Targets() []string {
	return []string{"certificate", "token", "key", "credentialID", "user", "group", "serviceAccount", "issuer"}
}

// Named returns the names of those fields that s has. There has to be one.
func (s *RevocationSpec) Named() []string {
	has := []bool{
		s.Certificate != nil, s.Token != nil, s.Key != nil, s.CredentialID != "", s.User != "", s.Group != "", s.ServiceAccount != nil, s.Issuer != "",
	}
	var named []string
	for i, name := range Targets() {
		if has[i] {
			named = append(named, name)
		}
	}
	return named
}

// Target says in a few words what is revoked.
func (s *RevocationSpec) Target() string {
	switch {
	case s.Certificate != nil && s.Certificate.SerialNumber != "":
		return fmt.Sprintf("certificate %s of %s", s.Certificate.SerialNumber, s.Certificate.Issuer)
	case s.Certificate != nil:
		return "certificate tbsSHA256=" + s.Certificate.TBSSHA256
	case s.Token != nil && s.Token.JTI != "":
		return fmt.Sprintf("token %s of %s", s.Token.JTI, s.Token.Issuer)
	case s.Token != nil:
		return "token signingInputSHA256=" + s.Token.SigningInputSHA256
	case s.Key != nil:
		return strings.TrimSuffix("key "+s.Key.ID+" of "+s.Key.Issuer, " of ")
	case s.CredentialID != "":
		return "credential " + s.CredentialID
	case s.User != "":
		return "user " + s.User
	case s.Group != "":
		return "group " + s.Group
	case s.ServiceAccount != nil:
		return "serviceaccount " + s.ServiceAccount.Namespace + "/" + s.ServiceAccount.Name
	case s.Issuer != "":
		return "issuer " + s.Issuer
	}
	return "nothing"
}
