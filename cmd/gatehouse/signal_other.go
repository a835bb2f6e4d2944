//go:build !unix

package main

import "errors"

func signals() []string { return nil }

func send(int, string) error { return errors.ErrUnsupported }
