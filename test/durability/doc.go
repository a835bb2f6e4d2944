// Package durability holds Gatehouse to its first promise: nothing that was
// acknowledged is lost. Servers are killed in the middle of writes, members of
// the cluster behind them too; stores are saved, restored and moved while they
// are used; and whatever comes back is compared, object by object, with what was
// acknowledged.
//
// A test that loses its load proves nothing, so each one counts what was
// acknowledged and fails if that is too little.
package durability
