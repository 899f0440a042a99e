// What the programs here share: the arguments, and a line for each case.
export const [url, key, file, text] = process.argv.slice(2);

export const say = async (name, check) => {
  try {
    console.log((await check()) ? `ok ${name}` : `failed ${name}: not as expected`);
  } catch (error) {
    console.log(`failed ${name}: ${String(error).replaceAll("\n", " ")}`);
  }
};

export const fails = async (run) => {
  try {
    await run();
  } catch (error) {
    return error;
  }
  throw new Error("it was not refused");
};
