package fsm

// Seams for the tests outside of the package.

// LimitOutcomes lowers MaxOutcomes.
func (m *Machine) LimitOutcomes(n int64) { m.outcomes = n }
