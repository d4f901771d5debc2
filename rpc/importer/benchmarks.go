package importer

import (
	"fmt"
	"strings"
)

// arenaHard reads Arena-Hard: questions {uid, cluster, prompt or turns} and the answers of models {uid, ans_id, model,
// messages}, in which an assistant's content is an object {answer}.
type arenaHard struct{}

func (a arenaHard) claims(h head) claim { return claimsBenchmark(a, h) }

func (a arenaHard) read(it *item, out *scribe) error { return readBenchmark(a, it, out) }

func (arenaHard) idKey() string { return "uid" }

func (arenaHard) kind(f fields) lineKind {
	switch {
	case f["uid"] == nil:
	case f["model"] != nil && f["messages"] != nil:
		return lineAnswer
	case (f["prompt"] != nil || f["turns"] != nil) && (f["cluster"] != nil || f["category"] != nil):
		return lineQuestion
	}
	return lineOther
}

func (arenaHard) answer(f fields) answer {
	model, _ := f.textOrRaw("model")
	a := answer{model: model, time: f.time("tstamp"), rest: f.without("uid", "model", "messages", "tstamp")}
	for i, raw := range elements(f["messages"]) {
		m, _ := parseFields(raw)
		text, rest := turnText(m["content"])
		if inner, ok := rest.textOrRaw("answer"); ok {
			text, rest = inner, rest.without("answer")
		}
		switch m.firstText("role") {
		case "system":
			a.system = text
		case "user":
			a.asked = append(a.asked, text)
		case "assistant":
			a.replies = append(a.replies, replyTo{turn: max(0, len(a.asked)-1), text: text, rest: rest})
		default:
			a.faults = append(a.faults, fmt.Sprintf("message %d has no role that is known", i+1))
		}
	}
	return a
}

// mtBench reads MT-bench: questions {question_id, turns}, answers {question_id, model_id, choices} with a text for each
// turn, and templates for judges.
type mtBench struct{}

func (m mtBench) claims(h head) claim { return claimsBenchmark(m, h) }

func (m mtBench) read(it *item, out *scribe) error { return readBenchmark(m, it, out) }

func (mtBench) idKey() string { return "question_id" }

func (mtBench) kind(f fields) lineKind {
	switch {
	case f["prompt_template"] != nil && f["name"] != nil && (f["type"] != nil || f["output_format"] != nil):
		return lineTemplate
	case f["question_id"] == nil:
	case f["choices"] != nil && (f["model_id"] != nil || f["answer_id"] != nil):
		return lineAnswer
	case f["turns"] != nil:
		return lineQuestion
	}
	return lineOther
}

func (mtBench) answer(f fields) answer {
	a := answer{model: f.firstText("model_id", "model"), time: f.time("tstamp"), rest: f.without("question_id", "model_id", "model", "choices", "tstamp")}
	for i, raw := range elements(f["choices"]) {
		choice, _ := parseFields(raw)
		if elements(choice["turns"]) == nil {
			a.faults = append(a.faults, fmt.Sprintf("choice %d has no turns", i+1))
		}
		for i, turn := range elements(choice["turns"]) {
			text, rest := turnText(turn)
			r := replyTo{turn: i, text: text, tokens: rest.whole("token_len"), rest: rest.without("token_len")}
			if index, ok := choice.textOrRaw("index"); ok && index != "0" {
				r.rest = fields{"choice": choice["index"]}
			}
			a.replies = append(a.replies, r)
		}
	}
	return a
}

// singleTurn is the name of the template that one for several turns is a variant of.
func singleTurn(name string) (string, bool) { return strings.CutSuffix(name, "-multi-turn") }

// vicunaEval reads the evaluation of the Vicuna blog: questions {question_id, text}, answers {question_id, answer_id,
// model_id, text}, descriptions of models, and templates for judges.
type vicunaEval struct{}

func (v vicunaEval) claims(h head) claim { return claimsBenchmark(v, h) }

func (v vicunaEval) read(it *item, out *scribe) error { return readBenchmark(v, it, out) }

func (vicunaEval) idKey() string { return "question_id" }

func (vicunaEval) kind(f fields) lineKind {
	switch {
	case f["prompt_id"] != nil && f["prompt_template"] != nil:
		return lineTemplate
	case f["model_id"] != nil && f["model_name"] != nil && f["question_id"] == nil:
		return lineModel
	case f["question_id"] == nil || f["text"] == nil:
	case f["answer_id"] != nil || f["model_id"] != nil:
		return lineAnswer
	case f["category"] != nil:
		return lineQuestion
	}
	return lineOther
}

func (vicunaEval) answer(f fields) answer {
	text, _ := f.textOrRaw("text")
	model, _ := f.textOrRaw("model_id")
	return answer{model: model, replies: []replyTo{{text: text}}, rest: f.without("question_id", "model_id", "text")}
}
