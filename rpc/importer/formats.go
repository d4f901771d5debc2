package importer

// The formats. Each of them is recognised by content under FormatAuto; naming one reads what it can and refuses the rest.
const (
	// FormatExport is what `memory-graph export` writes.
	FormatExport Format = "memory-graph"
	// FormatSWEAgent is a SWE-agent trajectory: OpenAI chat messages under history, whose text variants carry tool
	// calls in action and tool results in the user message that follows.
	FormatSWEAgent Format = "swe-agent"
	// FormatOASST is a tree of OpenAssistant messages.
	FormatOASST Format = "oasst"
	// FormatToolBench is a search tree of ToolBench.
	FormatToolBench Format = "toolbench"
	// FormatInterCode is results of InterCode: tasks with actions and observations.
	FormatInterCode Format = "intercode"
	// FormatTaskmaster is dialogs of Taskmaster-4, with calls in annotations.
	FormatTaskmaster Format = "taskmaster"
	// FormatPromptCSV is a table of prompt templates: CSV with the columns act and prompt, and ${name:default} in the texts.
	FormatPromptCSV Format = "prompt-csv"
	// FormatPromptSource is promptsource's files of templates: YAML with Jinja texts.
	FormatPromptSource Format = "promptsource"
	// FormatArenaHard, FormatMTBench and FormatVicuna are benchmarks: questions, answers of models, and templates for judges,
	// in files that need each other.
	FormatArenaHard Format = "arena-hard"
	FormatMTBench   Format = "mt-bench"
	FormatVicuna    Format = "vicuna-eval"
	// FormatBFCL is tasks of the Berkeley Function-Calling Leaderboard, whose expected calls are Python expressions.
	FormatBFCL Format = "bfcl"
	// FormatShareGPT is ShareGPT: messages of {from, value}.
	FormatShareGPT Format = "sharegpt"
	// FormatKdConv is KdConv: messages without roles, whose speakers take turns.
	FormatKdConv Format = "kdconv"
	// FormatClaudeCode is the session logs of Claude Code: one message a line, in a tree, of one session or several.
	FormatClaudeCode Format = "claude-code"
	// FormatPiMono is the session logs of the pi coding agent.
	FormatPiMono Format = "pi-mono"
	// FormatOpenHands is the event streams of OpenHands: actions and observations, joined by cause.
	FormatOpenHands Format = "openhands"
	// FormatADK is sessions of Google's Agent Development Kit; FormatADKEval and FormatADKEvalList its evaluation sets, new and old.
	FormatADK         Format = "adk"
	FormatADKEval     Format = "adk-eval"
	FormatADKEvalList Format = "adk-eval-list"
	// FormatGemini is requests and logs of the Gemini API: contents made of parts.
	FormatGemini Format = "gemini"
	// FormatInspect is evaluation logs of Inspect AI.
	FormatInspect Format = "inspect-ai"
	// FormatAutoGen is recorded chat completions of AutoGen: {mode, messages, response}.
	FormatAutoGen Format = "autogen"
	// FormatWhoAndWhen is the data set Who&When: agents that talk with each other, and the mistake that somebody has marked.
	FormatWhoAndWhen Format = "who-and-when"
	// FormatLangfuse is traces exported from Langfuse, with their observations.
	FormatLangfuse Format = "langfuse"
	// FormatAnthropic is messages of the Anthropic API: requests with their system text beside the messages, logs of
	// {request, response}, and lists of messages made of blocks (text, tool_use, tool_result, thinking, …).
	FormatAnthropic Format = "anthropic"
	// FormatOpenAI is OpenAI chat messages: a list of {role, content, tool_calls, …}, bare or under the key messages,
	// conversations, traj or history, alone, in an array, or one a line.
	FormatOpenAI Format = "openai"
	// FormatOpenAILines is FormatOpenAI read line by line whatever the file looks like.
	FormatOpenAILines Format = "openai-jsonl"
)

// formatTable lists the formats in order of preference: the first one that claims an item reads it, so the narrow ones
// come first and those that read almost anything last. Those of unitFile, unitText and unitStream are asked once for each file,
// before the others.
func formatTable() []formatRow {
	return []formatRow{
		{FormatClaudeCode, claudeCode{}, unitFile, "claude-code/1"},
		{FormatPiMono, piMono{}, unitFile, "pi-mono/1"},
		{FormatExport, ownExport{}, unitStream, ""},
		{FormatOpenHands, openHands{}, unitValue, "openhands/1"},
		{FormatWhoAndWhen, whoAndWhen{}, unitValue, "who-and-when/1"},
		{FormatSWEAgent, sweAgent{}, unitValue, "1"},
		{FormatOASST, oasst{}, unitValue, "oasst/1"},
		{FormatToolBench, toolBench{}, unitValue, "toolbench/1"},
		{FormatInterCode, interCode{}, unitValue, "intercode/1"},
		{FormatTaskmaster, taskmaster{}, unitValue, "taskmaster/1"},
		{FormatPromptCSV, promptCSV{}, unitText, "prompt-csv/1"},
		{FormatPromptSource, promptSource{}, unitText, "promptsource/1"},
		{FormatArenaHard, arenaHard{}, unitFile, "arena-hard/1"},
		{FormatMTBench, mtBench{}, unitFile, "mt-bench/1"},
		{FormatVicuna, vicunaEval{}, unitFile, "vicuna-eval/1"},
		{FormatBFCL, bfcl{}, unitFile, "bfcl/1"},
		{FormatShareGPT, shareGPT{}, unitValue, "sharegpt/1"},
		{FormatKdConv, kdConv{}, unitValue, "1"},
		{FormatInspect, inspectAI{}, unitValue, "inspect-ai/1"},
		{FormatAutoGen, autogen{}, unitValue, "autogen/1"},
		{FormatLangfuse, langfuse{}, unitValue, "langfuse/1"},
		{FormatADK, adkSession{}, unitValue, "adk/1"},
		{FormatADKEval, adkEvalSet{}, unitValue, "adk/1"},
		{FormatADKEvalList, adkEvalList{}, unitValue, "adk/1"},
		{FormatGemini, gemini{}, unitValue, "gemini/1"},
		{FormatAnthropic, anthropic{}, unitValue, "anthropic/1"},
		{FormatOpenAI, openAI{}, unitValue, "1"},
	}
}
