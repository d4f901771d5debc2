// Package crash kills a real server under load, again and again, and looks at what it kept.
//
// Writers send writes with idempotency keys and keep a model of what was acknowledged; at a random moment the process gets
// SIGKILL and is started again on the same folder. Each write whose fate is unknown is then sent again under its key, after
// which the model says exactly what must be there: records, order, edges, counters, events. The moments and the load come from
// a seed, the interleaving does not, so a seed says where to look and not what happens. The package proves that a process may
// die; that a machine loses power, where what was not synced is gone too, it does not show.
package crash
