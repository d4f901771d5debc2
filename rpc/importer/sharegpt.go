package importer

// shareGPT reads ShareGPT: messages of {from, value}, as in {"conversations": [{"from": "human", "value": "Hi"}, …]}.
type shareGPT struct{}

func (shareGPT) claims(h head) claim {
	it := h.first()
	if list, _ := chatMessages(it); list != nil {
		return claimIf(anyMessage(list, fields.isShareGPT) && !anyMessage(list, fields.hasRole))
	}
	if it.fields.isShareGPT() && !it.fields.hasRole() && !it.fields.hasList() {
		return claimPart
	}
	return claimNone
}

func (shareGPT) read(it *item, out *scribe) error {
	readChat(it, out, dialect{})
	return nil
}

func (f fields) isShareGPT() bool { return f.firstText("from") != "" && f.present("value") }

func (f fields) hasRole() bool { return f.firstText("role") != "" }
