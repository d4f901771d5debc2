package check

import (
	"cmp"
	"maps"
	"slices"
)

// sorted are the keys of a map in their order: what is found must not hang on how a map is walked.
func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// An edge says that one transaction came before another, and why.
type edge struct {
	to  int
	why string
}

// precedence is a graph of transactions, by number.
type precedence struct{ edges [][]edge }

func newPrecedence(n int) *precedence { return &precedence{edges: make([][]edge, n)} }

// add says that from came before to.
func (p *precedence) add(from, to int, why string) {
	if from != to {
		p.edges[from] = append(p.edges[from], edge{to, why})
	}
}

// components are the sets of transactions that come before each other, of two or more, after Tarjan ("Depth-first search and linear graph
// algorithms", 1972), without recursion: a history may be one long path.
func (p *precedence) components() [][]int {
	n := len(p.edges)
	number, low, onStack, next := make([]int, n), make([]int, n), make([]bool, n), make([]int, n)
	var found [][]int
	var stack, path []int
	count := 0
	for root := range n {
		if number[root] != 0 {
			continue
		}
		path = append(path, root)
		for len(path) > 0 {
			v := path[len(path)-1]
			if number[v] == 0 {
				count++
				number[v], low[v] = count, count
				stack, onStack[v] = append(stack, v), true
			}
			if next[v] < len(p.edges[v]) {
				w := p.edges[v][next[v]].to
				next[v]++
				if number[w] == 0 {
					path = append(path, w)
				} else if onStack[w] {
					low[v] = min(low[v], number[w])
				}
				continue
			}
			path = path[:len(path)-1]
			if len(path) > 0 {
				parent := path[len(path)-1]
				low[parent] = min(low[parent], low[v])
			}
			if low[v] != number[v] {
				continue
			}
			at := slices.Index(stack, v)
			if len(stack)-at > 1 {
				found = append(found, slices.Sorted(slices.Values(stack[at:])))
			}
			for _, w := range stack[at:] {
				onStack[w] = false
			}
			stack = stack[:at]
		}
	}
	return found
}

// step is a transaction of a cycle and why it came before the next one.
type step struct {
	from int
	why  string
}

// maxStarts is from how many transactions of a component a short cycle is sought.
const maxStarts = 64

// cycle is a short way round in a component: the shortest through any of its first transactions.
func (p *precedence) cycle(component []int) []step {
	inside := make(map[int]bool, len(component))
	for _, v := range component {
		inside[v] = true
	}
	var best []step
	for _, start := range component[:min(len(component), maxStarts)] {
		if way := p.round(start, inside); way != nil && (best == nil || len(way) < len(best)) {
			best = way
		}
	}
	return best
}

// round is the shortest way from a transaction back to itself.
func (p *precedence) round(start int, inside map[int]bool) []step {
	came := map[int]step{}
	queue := []int{start}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		for _, e := range p.edges[v] {
			if _, seen := came[e.to]; seen || !inside[e.to] {
				continue
			}
			came[e.to] = step{v, e.why}
			if e.to == start {
				return trace(came, start)
			}
			queue = append(queue, e.to)
		}
	}
	return nil
}

func trace(came map[int]step, start int) []step {
	var way []step
	for at := came[start]; ; at = came[at.from] {
		way = append(way, at)
		if at.from == start {
			slices.Reverse(way)
			return way
		}
	}
}

// sweep visits calls in the order in which they began. Before each it hands over to settled those that had ended by then.
func sweep[C interface {
	Begin() int
	End() int
}](calls []C, settled, visit func(C)) {
	var open []C
	for _, c := range calls {
		var still []C
		for _, o := range open {
			if o.End() < c.Begin() {
				settled(o)
			} else {
				still = append(still, o)
			}
		}
		open = append(still, c)
		visit(c)
	}
}
