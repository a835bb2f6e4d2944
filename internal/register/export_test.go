package register

import "gatehouse.dev/gatehouse/internal/etcd/ledger"

// SetMost bounds the entries of a register that nobody uses yet.
func (r *Register) SetMost(n int64) { r.most = n }

// RowOf returns an entry as it is stored.
func RowOf(e *Entry) (ledger.Row, error) { return e.row() }
