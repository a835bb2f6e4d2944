package audit

// Inner names for the tests.
var (
	AppendEvent     = appendEvent
	AppendString    = appendString
	HideAccessToken = hideAccessToken
	HideToken       = hideToken
	HideValues      = hideValues
	Printable       = printable
)
