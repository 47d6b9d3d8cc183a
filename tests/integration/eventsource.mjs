// Prints the titles of what EventSource receives at the URL in the first argument, and its ends.

const source = new EventSource(process.argv[2]);

source.onopen = () => console.log(JSON.stringify({ open: true }));

source.onerror = () => console.log(JSON.stringify({ state: source.readyState }));

source.onmessage = (event) => {
  const message = JSON.parse(event.data);
  for (const result of Object.values(message.connect?.subs ?? {})) {
    for (const publication of result.publications ?? []) {
      console.log(JSON.stringify({ title: publication.data.title }));
    }
  }
  if (message.pub) {
    console.log(JSON.stringify({ title: message.pub.data.title }));
  }
  if (message.disconnect) {
    console.log(JSON.stringify({ disconnect: message.disconnect.code }));
  }
};
