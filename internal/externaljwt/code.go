package externaljwt

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Code is what Kubernetes' metrics call the outcome of a call.
func Code(err error) string {
	if err == nil {
		return codes.OK.String()
	}
	var told interface{ GRPCStatus() *status.Status }
	if errors.As(err, &told) {
		return told.GRPCStatus().Code().String()
	}
	return "unknown-non-grpc"
}
