// Package foreign has what Gatehouse issues judged by those who have never heard
// of it: certificates by OpenSSL, GnuTLS, Go's crypto/x509 and zlint, and tokens
// by the npm library jose, OpenSSL and Go. All of them have to take every one,
// and to refuse it when it is changed.
package foreign
